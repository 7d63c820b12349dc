"""Files → strings → sentences → tokens → ids, with Python and NumPy alone."""
