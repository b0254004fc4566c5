// The module's declarations follow in the files beside this one.
