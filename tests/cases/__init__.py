"""Problems, networks, rows and pruners that several tests look at."""
