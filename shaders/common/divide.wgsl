// n / d rounded down, for adapters that run on the CPU: those divide integers lane by lane, floats all lanes at once, and
// their f32 division is correctly rounded. For n < 2²⁴ the quotient cannot round up to a whole number: what it lacks to
// one is at least 1/d, and that is more than half of f32's spacing there. Larger n need WIDE.
fn divide(n: u32, d: u32) -> u32 {
#if WIDE
    return n / d;
#else
    return u32(i32(f32(i32(n)) / f32(i32(d))));
#endif
}
