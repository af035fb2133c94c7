// Puts together every WORKGROUP-th partial statistics of a channel group, from number `local` on. Means are relative to that of the first, so that
// a large one costs no precision. To be imported inside a function that knows `local`, `parts`, and where means (`first`) and sums of squared
// deviations (`squares`) begin, and reads them by load_partials; afterwards the mean of the first is in `pivot`, the rest in `mine`. TEXELS: of each part,
// where all have as many; otherwise they are shares of `planes`.
    let pivot = load_partials(first);
    var mine = no_statistics();
    for (var part = local; part < parts; part += ${WORKGROUP}u) {
#if TEXELS
        let texels = ${TEXELS}.0;
#else
        let texels = f32(part_texels(part, planes));
#endif
        mine = merged(mine, Statistics(texels, load_partials(first + part) - pivot, load_partials(squares + part)));
        // Spares a turn without lanes (docs/kernels.md).
        if part + ${WORKGROUP}u >= parts { break; }
    }
