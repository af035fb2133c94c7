// The drawn parameters of one view; the twin of kernels::augment::AugmentRecord. Import; no entry point.
struct Record {
    top: u32,
    left: u32,
    height: u32,
    width: u32,
    failed_tries: u32,
    horizontal_flip: u32,
    vertical_flip: u32,
    jitter: u32,
    order: u32,
    brightness: f32,
    contrast: f32,
    saturation: f32,
    hue: f32,
    gray: u32,
    blur: u32,
    sigma: f32,
}
