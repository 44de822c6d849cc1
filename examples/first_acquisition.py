# ---
# jupyter:
#   jupytext:
#     formats: py:percent
#   kernelspec:
#     display_name: Python 3
#     name: python3
# ---

# %% [markdown]
# # The first acquisition
#
# A simulated EIGER-like camera, two processing steps, a file, and a look at the frames while they
# come. Open this file as a notebook in Jupyter (with
# [jupytext](https://jupytext.readthedocs.io)), or run it cell by cell in an editor.

# %%
from pathlib import Path
from tempfile import mkdtemp

import matplotlib.pyplot as plt
from distributed import Client

import limadask as ld
from limadask_detectors import Simulator
from limadask_tasks import Crop, Flip, Observe, RoiStatistics, SaveHdf5

folder = Path(mkdtemp(prefix="limadask-"))

# %% [markdown]
# Any Dask cluster will do: this makes one on this computer. Its dashboard shows every acquisition
# under the names of the pipeline's nodes.

# %%
client = Client(n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0")
client

# %% [markdown]
# ## What is to be done
#
# The camera knows how to simulate; the pipeline says what becomes of its frames. Nothing runs yet.

# %%
camera = Simulator(shape=(512, 1028), modules=1, bands=["4 keV", "8 keV"])
camera.growth = 300  # photons that each frame has more than the one before

region = ld.Rect(y=200, x=450, height=100, width=120)  # in detector pixels, here and below

pipe = ld.Pipeline()
pipe.add("mirrored", Flip(axis="x"), after="input")
pipe.add("centre", Crop(y=56, x=214, height=400, width=600), after="mirrored")
pipe.add("intensity", RoiStatistics(rois=[region], coordinates="detector"), after="centre")
pipe.add("file", SaveHdf5(folder=str(folder), prefix="first"), after="centre")
pipe.add("live", Observe(history=8, every=5), after="centre")
pipe

# %%
acq = ld.Acquisition(
    client,
    camera,
    pipe,
    nb_frames=200,
    expo_time=0.005,
    metadata={"sample": "LaB6"},
)
acq.prepare()  # every mistake is found here, before the first exposure

# %% [markdown]
# What was asked for, what the detector took, and what the pipeline will do:

# %%
acq.parameters

# %% [markdown]
# ## Run it
#
# Events come while it runs: no callbacks. `acq.wait()` would do as well, see below.

# %%
events = acq.events()
acq.start()
async for event in events:
    if not isinstance(event, ld.FramesDone):
        print(event)

# %%
acq

# %% [markdown]
# Every frame is accounted for:

# %%
acq.record()

# %% [markdown]
# ## Look at it
#
# By-products are labelled, and follow the frame number. The region was given in detector pixels:
# that the image was mirrored and cropped on the way does not matter.

# %%
intensity = acq.data["intensity"]
intensity["mean"].isel(roi=0).plot.line(x="frame", hue="band")
plt.show()

# %% [markdown]
# The newest frame that the observation point has seen, and its grid: where its pixels lie on the
# detector. A region drawn on either maps to the other.

# %%
latest = acq.observe["live"].latest()
grid = ld.Grid.of(latest)
grid

# %%
drawn = grid.from_detector(region)  # and back: grid.to_detector(drawn)
seen = acq.observe["live"].history().mean("frame")  # the last eight of every fifth frame
seen.sel(band="4 keV").plot.imshow(vmax=0.8, yincrease=False)
plt.gca().add_patch(
    plt.Rectangle((drawn.x, drawn.y), drawn.width, drawn.height, fill=False, color="white")
)
plt.show()

# %% [markdown]
# ## Once more, and wait for it
#
# An acquisition runs once; the next one is a new object. This one drops frames on purpose.

# %%
camera.faults = {"drop": [3, 4, 50]}
pipe = ld.Pipeline()
pipe.add("file", SaveHdf5(folder=str(folder), prefix="second"))

with ld.Acquisition(client, camera, pipe, nb_frames=100, expo_time=0.002) as second:
    second.prepare()
    second.start()
    second.wait(timeout=60)

second.record()

# %% [markdown]
# The file is an ordinary NeXus file; `ld.open` labels it, lazily. Absent frames are there, with
# their cause, and numbers do not shift.

# %%
saved = ld.open(second.files["file"])["entry/data"]
saved["images"]

# %%
print(saved["frame_status"].values[:8], saved["frame_cause"].values[:8])

# %% [markdown]
# The same tasks work on what was saved, without a cluster:

# %%
again = ld.Pipeline()
again.add("intensity", RoiStatistics(rois=[region]))
ld.process(ld.open(second.files["file"]), again)["intensity"]

# %%
client.close()
