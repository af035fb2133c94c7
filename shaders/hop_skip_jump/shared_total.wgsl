// The sum of `squares` over a row's invocations, in their order. To be imported inside a function; afterwards `total`.
#if ALONE
    let total = squares;
#else
    shares[local] = squares;
    workgroupBarrier();
    var total = 0.0;
    for (var i = 0u; i < ${LANES}u; i++) { total += shares[i]; }
#endif
