# Tests of this layer, by hand.
