"""The ground floor: values, canonical bytes, time, randomness, errors and keys. It imports nothing of Charter."""
