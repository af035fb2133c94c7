// Mean and sum of squared deviations of a share's texels, shifted by its first value so that a large mean costs no precision. To be imported inside a
// function that knows `planes` and `share` and reads x by load_x; afterwards they are in `part`.
    let step = planes.lanes;
    let first_pixel = min(share.begin, planes.pixels - 1u);
    let pivot = load_x((share.first * planes.groups + share.group) * planes.pixels + first_pixel);
    var sum = vec4<f32>(0.0);
    var squares = vec4<f32>(0.0);
    for (var n = share.first; n < share.end; n++) {
        let start = (n * planes.groups + share.group) * planes.pixels;
        var p = share.begin;
        for (; p + 3u * step < share.stop; p += 4u * step) {
            let d0 = load_x(start + p) - pivot;
            let d1 = load_x(start + p + step) - pivot;
            let d2 = load_x(start + p + 2u * step) - pivot;
            let d3 = load_x(start + p + 3u * step) - pivot;
            sum += (d0 + d1) + (d2 + d3);
            squares += (d0 * d0 + d1 * d1) + (d2 * d2 + d3 * d3);
            // Spares a turn without lanes (docs/kernels.md).
            if p + 7u * step >= share.stop { p += 4u * step; break; }
        }
        for (; p < share.stop; p += step) {
            let d = load_x(start + p) - pivot;
            sum += d;
            squares += d * d;
            if p + step >= share.stop { break; }
        }
        if n + 1u >= share.end { break; }
    }
    let texels = f32(part_texels(share.part - share.group * planes.parts, planes));
    let part = Statistics(texels, pivot + sum / max(texels, 1.0), max(squares - sum * (sum / max(texels, 1.0)), vec4<f32>(0.0)));
