# Exercise s01_first/temperature. Write the functions below; `aidl check s01/temperature` says how it goes.
# It looks at these functions and what they use; run the file itself to see your prints and the plots.

# %% [markdown]
# # Degrees
#
# 5 degrees Celsius span as much as 9 degrees Fahrenheit, and the zero lies elsewhere: 0 °C is 32 °F.
#
# Write the formula once, for an array of any shape. In JAX, as in NumPy, arithmetic between an array and a number
# is done for each element.

# %%
import jax.numpy as jnp


# %%
def to_fahrenheit(celsius):
    """Converts temperatures.

    Args:
        celsius: float32 [...], in degrees Celsius.

    Returns:
        float32 [...], the same shape, in degrees Fahrenheit.
    """
    raise NotImplementedError("to_fahrenheit is still to be written")


# %% [markdown]
# ## Try it

# %%
print(to_fahrenheit(jnp.array([-40.0, 0.0, 37.0, 100.0])))
