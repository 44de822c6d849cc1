"""The simulated detector of ``libertem-live``; runs in its environment, until its input ends."""

import json
import os
import sys

from libertem_live.detectors.dectris.sim import DectrisSim


def main(frames):
    # with a port of our choice its own first look at the headers is still bound to it
    sim = DectrisSim(port=0, zmqport=0, num_mock_frames=frames, verbose=False)
    sim.start()
    sim.wait_for_listen()
    print(json.dumps({"port": sim.port, "stream_port": sim.zmqport}), flush=True)
    sys.stdin.read()
    sim.api_server.terminate()
    sim.api_server.join()
    os._exit(0)  # its thread is in foreign code that may wait for receivers for ever


if __name__ == "__main__":
    main(int(sys.argv[1]))
