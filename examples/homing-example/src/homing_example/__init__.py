"""An instrument and a stabiliser for homing, in a package of their own."""
