// A place in a sum over taps and channel groups, channels innermost.
struct Tap { channel: u32, h: u32, w: u32 }

// The place `step` texels further on, with `channels` texels a tap and `width` taps a row.
fn advance(start: Tap, step: u32, channels: u32, width: u32) -> Tap {
    var tap = start;
    tap.channel += step;
    while tap.channel >= channels {
        tap.channel -= channels;
        tap.w += 1u;
        if tap.w == width {
            tap.w = 0u;
            tap.h += 1u;
        }
    }
    return tap;
}
