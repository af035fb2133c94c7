//! The shader preprocessor on texts of its own: what it makes of them, and which errors name which place.

use contraleak::gpu::shader::{Defines, preprocess, preprocess_text};
use proptest::prelude::*;

fn with(defines: &[(&'static str, &str)]) -> Defines {
    defines.iter().fold(Defines::new(), |all, (name, value)| all.with(name, value))
}

#[track_caller]
fn unfolds(text: &str, defines: &[(&'static str, &str)]) -> String {
    preprocess_text("text", text, &with(defines)).unwrap_or_else(|e| panic!("{text}\n{e}"))
}

/// The value of an expression.
#[track_caller]
fn value(expression: &str, defines: &[(&'static str, &str)]) -> i64 {
    unfolds(&format!("${{{expression}}}"), defines).trim().parse().expect("an integer")
}

/// Fails unless the text is refused with a message that begins with `place` and says all of `parts`.
#[track_caller]
fn refused(text: &str, place: &str, parts: &[&str]) {
    let message = match preprocess_text("text", text, &Defines::new()) {
        Ok(out) => panic!("{text:?} unfolds to {out:?}"),
        Err(error) => error.to_string(),
    };
    assert!(message.starts_with(&format!("{place}: ")), "expected {place} first in: {message}");
    for part in parts {
        assert!(message.contains(part), "expected {part:?} in: {message}");
    }
}

#[test]
fn text_without_directives_stays_as_it_is() {
    let text =
        "// Σ aᵢ·b̂ⱼ — a comment\nfn f(x: u32) -> u32 { return x % 3u; } // { } $ # :\n\n    indented\n";
    assert_eq!(unfolds(text, &[("x", "9")]), text);
}

#[test]
fn imports_come_once() {
    let defines = [("WORKGROUP", "64")];
    let once = unfolds("#import common/grid\n", &defines);
    assert_eq!(once.matches("fn linear_index").count(), 1, "{once}");
    let twice = unfolds("#import common/grid\n  #import common/grid\nend\n", &defines);
    assert_eq!(twice, format!("{once}end\n"));
    // Also where an imported file imports it.
    let both = unfolds("#import common/grid\n#import elementwise/unary\n", &defines);
    assert_eq!(both.matches("fn linear_index").count(), 1, "{both}");
    assert!(both.contains("fn unary"), "{both}");
}

/// What an adapter decides about arrays of texels changes how they are declared, not the names by which they are used.
#[test]
fn arrays_are_declared_as_the_adapter_reads_them() {
    let text = "#operand 0 x\n#operand 1 b\n#result 2 y\n#update 3 p\n";
    let plain = unfolds(text, &[]);
    assert_eq!(plain.matches("array<vec4<f32>>").count(), 4, "{plain}");
    assert!(plain.contains("@binding(1) var<storage, read> b:"), "{plain}");
    assert!(plain.contains("@binding(3) var<storage, read_write> p:"), "{plain}");
    let words = unfolds(text, &[("WORDS", "1"), ("TEXTURE_0", "1"), ("TEXTURE_2", "1")]);
    assert_eq!(words.matches("array<vec2<u64>>").count(), 3, "{words}");
    assert!(words.contains("@binding(0) var x: texture_storage_2d<rgba32float, read>;"), "{words}");
    assert_eq!(words.matches("fn pack64").count(), 1, "{words}");
    for all in [&plain, &words] {
        let functions = all.lines().filter_map(|line| line.strip_prefix("fn ")?.split('(').next());
        let arrays: Vec<&str> = functions.filter(|f| f.contains('_')).collect();
        assert_eq!(arrays, ["load_x", "load_b", "store_y", "load_p", "store_p"], "{all}");
    }
    for line in ["#operand", "#operand 0", "#result x 0", "#update 0 a-b", "#result 0 a b"] {
        refused(&format!("{line}\n"), "text:1", &["BINDING NAME"]);
    }
}

#[test]
fn conditions_nest() {
    let text = "#if A\na\n#if B\nab\n#else\na-\n#endif\n#else\n-\n#if B\n-b\n#endif\n#endif\nend\n";
    assert_eq!(unfolds(text, &[("A", "1"), ("B", "1")]), "a\nab\nend\n");
    assert_eq!(unfolds(text, &[("A", "2")]), "a\na-\nend\n");
    assert_eq!(unfolds(text, &[("B", "1")]), "-\n-b\nend\n");
    assert_eq!(unfolds(text, &[]), "-\nend\n");
    // What is not kept is not read.
    assert_eq!(unfolds("#if 0\n${unknown}\n#import none\n#else\nkept\n#endif\n", &[]), "kept\n");
    assert_eq!(unfolds("#if ON\nx\n#endif\n", &[("ON", "true")]), "x\n");
    assert_eq!(unfolds("#if ON\nx\n#endif\n", &[("ON", "false")]), "");
}

#[test]
fn loops_nest_and_shadow() {
    assert_eq!(unfolds("#for i in 0..3\n${i}\n#end\n", &[]), "0\n1\n2\n");
    assert_eq!(unfolds("#for i in -1..N + 1\n${i * i}\n#end\n", &[("N", "1")]), "1\n0\n1\n");
    assert_eq!(unfolds("#for i in 3..3\n${i}\n#end\n#for i in 3..1\n${i}\n#end\n", &[]), "");
    let nested = "#for i in 0..2\n#for j in i..2\n${i}${j}\n#end\n#end\n";
    assert_eq!(unfolds(nested, &[]), "00\n01\n11\n");
    let shadowing = "#for i in 5..7\n#for i in 0..i - 4\n${i}\n#end\nthen ${i}\n#end\n${i}\n";
    assert_eq!(unfolds(shadowing, &[("i", "defined")]), "0\nthen 5\n0\n1\nthen 6\ndefined\n");
    refused("#for i in 0..2\n#end\n${i}\n", "text:3", &["`i`"]);
    let mixed = "#for i in 0..4\n#if i % 2 == 1\n#for j in 0..i\n${i}${j}\n#end\n#else\neven\n#endif\n#end\n";
    assert_eq!(unfolds(mixed, &[]), "even\n10\neven\n30\n31\n32\n");
}

#[test]
fn expressions_bind_as_in_c() {
    for (expression, expected) in [
        ("1 + 2 * 3", 7),
        ("(1 + 2) * 3", 9),
        ("10 - 4 - 3", 3),
        ("100 / 7 / 2", 7),
        ("17 % 5 * 2", 4),
        ("-3 + 5", 2),
        ("2 - -3", 5),
        ("-7 / 2", -3),
        ("-7 % 3", -1),
        ("1 + 1 == 2", 1),
        ("2 != 2", 0),
        ("3 < 4", 1),
        ("4 <= 3", 0),
        ("4 > 3", 1),
        ("3 >= 4", 0),
        ("!0", 1),
        ("!5 + 1", 1),
        ("!!7", 1),
        ("1 || 0 && 0", 1),
        ("(1 || 0) && 0", 0),
        ("2 < 3 && 3 < 2 || 1 == 1", 1),
        ("N * N - 1", 24),
        ("\tN\t%\t2 ", 1),
        ("9223372036854775807", i64::MAX),
        ("-9223372036854775807 - 1", i64::MIN),
    ] {
        assert_eq!(value(expression, &[("N", "5")]), expected, "{expression}");
    }
}

#[test]
fn text_constants_and_letters_are_put_in() {
    assert_eq!(
        unfolds("var a: ${T} = ${ T }(${2 * N}u);\n", &[("T", "f32"), ("N", "4")]),
        "var a: f32 = f32(8u);\n"
    );
    assert_eq!(
        unfolds("#for i in 0..4\na.${i:xyzw}b${(i + 1) % 2:αβ}\n#end\n", &[]),
        "a.xbβ\na.ybα\na.zbβ\na.wbα\n"
    );
    // The text of a constant is not read again.
    assert_eq!(unfolds("${A}\n", &[("A", "${B}")]), "${B}\n");
}

#[test]
fn errors_name_file_and_line() {
    refused("one\n${TYPO}\n", "text:2", &["TYPO", "column 1"]);
    refused("\n\n${1 + TYPO * 2}", "text:3", &["TYPO", "column 5"]);
    refused("${TYPO:xyzw}", "text:1", &["TYPO"]);
    refused("#for i in 0..TYPO\n#end", "text:1", &["TYPO"]);
    refused("a\n#import common/no_such\n", "text:2", &["shaders/common/no_such.wgsl"]);
    refused("#import ../Cargo\n", "text:1", &["../Cargo"]);
    refused("${4:xyzw}", "text:1", &["4 is outside xyzw"]);
    refused("${0 - 1:xyzw}", "text:1", &["-1 is outside xyzw"]);
    refused("a ${b", "text:1", &["without `}`"]);
    refused("${}", "text:1", &["not an integer"]);
    refused("${8 / (4 - 4)}", "text:1", &["division by zero"]);
    refused("${8 % 0}", "text:1", &["division by zero"]);
    refused("#if 1 / 0\n#endif", "text:1", &["division by zero"]);
    refused("${(1 + 2}", "text:1", &["missing `)`"]);
    refused("${1 2}", "text:1", &["cannot read the rest", "column 3"]);
    refused("${1 < 2 < 3}", "text:1", &["cannot read the rest", "column 7"]);
    refused("x\n#if 1\n", "text:2", &["#if without #endif"]);
    refused("#if 1\n#else\n#else\n#endif", "text:3", &["second #else"]);
    refused("#for i in 0..1\n", "text:1", &["#for without #end"]);
    refused("#for i = 0..1\n#end", "text:1", &["`#for NAME in A..B`"]);
    refused("#for i in 4\n#end", "text:1", &["range A..B"]);
    refused("#for 3 in 0..4\n#end", "text:1", &["not a name"]);
    refused("#for i in 0..2\n#if i\n#end\n#endif", "text:2", &["#if without #endif"]);
    for stray in ["#endif", "#end", "#else", "#define A 1", "#", "#ïf Ж"] {
        refused(&format!("a\n{stray}\n"), "text:2", &["unknown or misplaced directive"]);
    }
    let message = preprocess("conv/none", &Defines::new()).expect_err("no such shader").to_string();
    assert_eq!(message, "shader conv/none: there is no shaders/conv/none.wgsl");
    let message = preprocess("elementwise/unary", &Defines::new()).expect_err("needs WORKGROUP").to_string();
    assert!(message.starts_with("shaders/common/grid.wgsl:") && message.contains("WORKGROUP"), "{message}");
    // Within an import, the place is there.
    let message = preprocess_text("text", "#import gemm/tile\n", &Defines::new()).expect_err("needs sizes");
    assert!(message.to_string().starts_with("shaders/gemm/tile_plain.wgsl:"), "{message}");
}

#[test]
fn numbers_beyond_64_bits_are_errors() {
    for expression in [
        "9223372036854775808",
        "9223372036854775807 + 1",
        "-9223372036854775807 - 2",
        "4294967296 * 4294967296",
        "(-9223372036854775807 - 1) / -1",
        "(-9223372036854775807 - 1) % -1",
        "-(-9223372036854775807 - 1)",
    ] {
        let error = preprocess_text("text", &format!("${{{expression}}}"), &Defines::new());
        assert!(error.is_err(), "{expression}: {error:?}");
    }
}

#[test]
fn unfolding_is_bounded() {
    refused("#for i in 0..4097\n#end", "text:1", &["4096 repetitions"]);
    refused("#for i in -9223372036854775807..9223372036854775807\n#end", "text:1", &["4096 repetitions"]);
    assert_eq!(unfolds("#for i in 0..4096\nx\n#end", &[]).lines().count(), 4096);
    let loops = "#for i in 0..4096\n".repeat(3) + "x\n" + &"#end\n".repeat(3);
    refused(&loops, "text:4", &["lines unfolded"]);
    let blocks = "#if 1\n".repeat(10_000) + &"#endif\n".repeat(10_000);
    refused(&blocks, "text:65", &["blocks nested"]);
    refused(&format!("${{{}1}}", "(".repeat(100_000)), "text:1", &["within each other"]);
    refused(&format!("${{{}1}}", "-".repeat(100_000)), "text:1", &["within each other"]);
}

/// Pieces of which most random texts have the form of directives and expressions.
fn piece() -> impl Strategy<Value = String> {
    let fixed = vec![
        "#if ",
        "#else",
        "#endif",
        "#for ",
        "#end",
        "#import ",
        "common/grid",
        " in ",
        "0..",
        "${",
        "}",
        ":xyzw",
        "i",
        "N",
        "(",
        ")",
        "+",
        "-",
        "*",
        "/",
        "%",
        "!",
        "==",
        "<",
        ">=",
        "&&",
        "||",
        " ",
        "\n",
        "\n",
        "\n",
        "é",
        "\u{3000}",
        "9223372036854775807",
        "4096",
        "2",
        "0",
        "#",
        "$",
    ];
    prop_oneof![6 => prop::sample::select(fixed).prop_map(str::to_string), 1 => ".{0,4}"]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever the text, the answer is a text or an error with a place.
    #[test]
    fn no_text_panics(pieces in prop::collection::vec(piece(), 0..40)) {
        let text = pieces.concat();
        if let Err(error) = preprocess_text("text", &text, &with(&[("N", "3"), ("i", "x")])) {
            let message = error.to_string();
            let placed = message.starts_with("text:") || message.starts_with("shaders/common/grid.wgsl:");
            prop_assert!(placed, "{text:?}: {message}");
        }
    }

    #[test]
    fn no_unicode_panics(text in "(?s).{0,200}") {
        let text = format!("#if {text}\n${{{text}}}\n#endif\n#for {text}\n#end\n#{text}");
        let _ = preprocess_text("text", &text, &Defines::new());
    }

    /// Sums and products equal those of i64.
    #[test]
    fn arithmetic_is_that_of_integers(a in -1000i64..1000, b in -1000i64..1000, c in 1i64..50) {
        prop_assert_eq!(value(&format!("({a}) + ({b}) * {c}"), &[]), a + b * c);
        prop_assert_eq!(value(&format!("({a} - {b}) / {c} % 7"), &[]), (a - b) / c % 7);
        prop_assert_eq!(value(&format!("{a} < {b}"), &[]), i64::from(a < b));
    }
}
