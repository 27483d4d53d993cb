"""Engine bundles that are shipped with the package, one folder each."""
