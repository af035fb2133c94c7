// The tile of an invocation, and where its outputs begin: for kernels whose grid is channels x blocks of 32 tiles, with
// `tiles_image` and `tiles_line` among their parameters. To be imported inside a function that knows `group` and `local`.
    let tile = group.y * 32u + local;
    let n = divide(tile, params.tiles_image);
    let within = tile - n * params.tiles_image;
    let line = divide(within, params.tiles_line);
    let first_h = line * 4u;
    let first_w = (within - line * params.tiles_line) * 4u;
