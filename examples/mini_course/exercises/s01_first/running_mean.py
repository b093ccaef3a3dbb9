# Exercise s01_first/running_mean. Write the functions below; `aidl check s01/running_mean` says how it goes.
# It looks at these functions and what they use; run the file itself to see your prints and the plots.

# %% [markdown]
# # A running mean
#
# Numbers arrive one by one, and after each you want the mean of all that have come so far:
#
#     list(running_mean(iter([4, 8, 0])))    # [4.0, 6.0, 4.0]
#
# The stream may never end, so do not keep the numbers. What do you have to remember of them?


# %%
def running_mean(stream):
    """The mean of all numbers so far, after each one.

    Args:
        stream: an iterator of numbers, maybe endless.

    Yields:
        A float for each number: the mean of it and all before it.
    """
    raise NotImplementedError("running_mean is still to be written")


# %% [markdown]
# ## Try it

# %%
print(list(running_mean(iter([4, 8, 0]))))
