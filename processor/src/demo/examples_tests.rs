//! Can every public data set in `examples` be run as its folder says?
