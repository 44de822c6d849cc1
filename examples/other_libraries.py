# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
# ---

# %% [markdown]
# # Other people's functions
#
# A function becomes a task by a decorator. Here one of scikit-image and one of SciPy work on frames
# while they come; what was saved is then filtered lazily by dask-image. It needs
# `pip install scikit-image dask-image`.

# %%
import numpy as np
import xarray as xr
from distributed import Client
from scipy import ndimage
from skimage import filters, measure

import limadask as ld
from limadask_detectors import Simulator
from limadask_tasks import Observe, SaveHdf5

# %% [markdown]
# A function of scikit-image gets labelled blocks, dims `(frame, band, y, x)`, and returns such. Its
# other arguments are fields of the task: in YAML, too.


# %%
@ld.task
def smooth(block: xr.DataArray, sigma: float = 1.5) -> xr.DataArray:
    """Smooth each image."""
    images = [
        [filters.gaussian(image, sigma, preserve_range=True) for image in frame]
        for frame in block.values
    ]
    return block.copy(data=np.array(images, "f4"))


# %% [markdown]
# One of bare arrays may say which library they are of; by-products are returned by name.


# %%
@ld.task(arrays="numpy")
def spots(frames: np.ndarray, height: float = 3.0) -> dict[str, np.ndarray]:
    """Count the spots of each image, and find the size of the largest."""
    found = np.zeros((2, *frames.shape[:2]), "i8")
    for place in np.ndindex(*frames.shape[:2]):
        labels, count = ndimage.label(frames[place] > height)
        sizes = [region.area for region in measure.regionprops(labels)]
        found[(slice(None), *place)] = count, max(sizes, default=0)
    return {"count": found[0], "largest": found[1]}


# %%
pipe = ld.Pipeline()
pipe.add("smooth", smooth(sigma=1.0))
pipe.add("spots", spots(height=1.5), after="smooth")
pipe.add("raw", SaveHdf5(folder="other_libraries", file_exists_policy="overwrite"))
pipe.add("live", Observe(), after="smooth")

# %%
client = Client(n_workers=1, threads_per_worker=2, dashboard_address=None)
camera = Simulator(shape=(128, 96), photons=0.5, seed=3)
with ld.Acquisition(client, camera, pipe, nb_frames=20, expo_time=0.01) as acquisition:
    acquisition.prepare()
    acquisition.start()
    acquisition.wait()
print(acquisition.data["spots"])

# %% [markdown]
# What was saved opens as a lazy array, which is what dask-image works on.

# %%
try:
    from dask_image import ndfilters
except ImportError:
    print("dask-image is not installed")
else:
    with ld.open(acquisition.files["raw"]) as tree:
        saved = tree["entry/data/data"].data
        lazy = ndfilters.gaussian_filter(saved.astype("f4"), sigma=(0, 1, 1))
        print(lazy[:3].compute().mean())

# %%
client.close()
