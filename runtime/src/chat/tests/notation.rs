//! Grammars of clients. Oracles: llama.cpp's `grammars/README.md` and Lark's grammar reference, read by hand.

use super::{grammar, takes};
use crate::error::Code;

/// A grammar, texts that it has, and texts that it has not.
type Row<'a> = (&'a str, &'a [&'a str], &'a [&'a str]);

#[track_caller]
fn are_held(rows: &[Row<'_>]) {
    for (text, right, wrong) in rows {
        let constraint = grammar(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        for (answers, expected) in [(right, true), (wrong, false)] {
            for answer in *answers {
                assert_eq!(takes(&constraint, answer), expected, "{text}: {answer:?}");
            }
        }
    }
}

#[track_caller]
fn are_refused(rows: &[(&str, &str)]) {
    for (text, expected) in rows {
        let error = grammar(text).expect_err(text);
        // What was found stands there escaped.
        let expected = expected.replace('"', "\\\"");
        assert_eq!((error.code(), error.message()), (Code::InvalidSchema, &*expected), "{text}");
        assert_eq!(error.details()["param"].as_str(), Some("grammar"));
    }
}

#[test]
fn repetitions_are_counted_in_both_notations() {
    are_held(&[
        ("root ::= \"a\"*", &["", "a", "aaa"], &["b"]),
        ("root ::= \"a\"+", &["a", "aaa"], &["", "b"]),
        ("root ::= \"a\"?", &["", "a"], &["aa"]),
        ("root ::= \"a\"{2}", &["aa"], &["a", "aaa"]),
        ("root ::= \"a\"{2,}", &["aa", "aaaa"], &["a"]),
        ("root ::= \"a\"{,2} \"b\"", &["b", "ab", "aab"], &["aaab"]),
        ("root ::= \"a\"{ 1 , 2 }", &["a", "aa"], &["", "aaa"]),
        ("root ::= \"a\"{0} \"b\"", &["b"], &["ab"]),
        ("root ::= \"a\"{1,10000}", &["a"], &[""]),
        ("root ::= \"a\" + \"b\" ?", &["a", "aab"], &["b"]),
        ("root ::= (\"a\" \"b\"){2} \"c\"", &["ababc"], &["abc", "abab"]),
        ("root ::= \"a\"{2}{2}", &["aaaa"], &["aa", "aaa"]),
        ("start: \"a\"~2", &["aa"], &["a", "aaa"]),
        ("start: \"a\"~1..2", &["a", "aa"], &["", "aaa"]),
        ("start: \"a\"~ 1 .. 2 \"b\"", &["ab", "aab"], &["b", "aaab"]),
        ("start: \"a\"* \"b\"+ \"c\"?", &["b", "aabb", "bc"], &["a", "ac"]),
        ("start: [\"a\"] \"b\"", &["b", "ab"], &["a", "aab"]),
        ("start: [\"a\" | \"c\" \"d\"] \"b\"", &["b", "ab", "cdb"], &["cb", "db"]),
    ]);
    let count = "expected a repetition count of at most 10000";
    are_refused(&[
        ("root ::= \"a\"{10001}", &format!("line 1 of the grammar: {count}, found '}}'")),
        ("root ::= \"a\"{1,10001}", &format!("line 1 of the grammar: {count}, found '}}'")),
        ("root ::= \"a\"{10001,}", &format!("line 1 of the grammar: {count}, found '}}'")),
        ("root ::= \"a\"{3,2}", &format!("line 1 of the grammar: {count}, found '}}'")),
        ("root ::= \"a\"{}", &format!("line 1 of the grammar: {count}, found '}}'")),
        ("root ::= \"a\"{,}", &format!("line 1 of the grammar: {count}, found '}}'")),
        ("root ::= \"a\"{x}", &format!("line 1 of the grammar: {count}, found 'x}}'")),
        ("root ::= \"a\"{1", &format!("line 1 of the grammar: {count}, found ''")),
        ("start: \"a\"~x", &format!("line 1 of the grammar: {count}, found 'x'")),
    ]);
}

#[test]
fn texts_and_classes_are_read_as_they_are_written() {
    are_held(&[
        (r#"root ::= "\x41\u00e5\U0001F600""#, &["Aå😀"], &["A"]),
        (r#"root ::= "\n\t\r\"\\""#, &["\n\t\r\"\\"], &["nt"]),
        (r#"root ::= "a.b*""#, &["a.b*"], &["axb", "a.bb"]),
        (r#"root ::= "\b\f""#, &["bf"], &["\u{8}\u{c}"]),
        (r#"start: "\b\f""#, &["\u{8}\u{c}"], &["bf"]),
        ("root ::= [abc-]", &["a", "c", "-"], &["d", "ab"]),
        ("root ::= [a-cx]", &["a", "b", "c", "x"], &["d", "-"]),
        ("root ::= [^a-c]", &["d", "é", "\n"], &["a", "b", "c"]),
        (r"root ::= [\x41-\x43\]]", &["A", "B", "C", "]"], &["D", "\\"]),
        ("root ::= [^^]", &["a"], &["^"]),
        ("root ::= [a^]", &["a", "^"], &["b"]),
        ("root ::= [a-a]", &["a"], &["b", "-"]),
        ("root ::= . .", &["ab", "é\n"], &["a", "abc"]),
        ("start: \"a\"..\"c\"", &["a", "b", "c"], &["d", ".", "a..c"]),
        ("start: \"abc\"i", &["abc", "ABC", "aBc"], &["ab"]),
        ("start: \"abc\" \"i\"", &["abci"], &["ABCi"]),
        ("start: /a.c/", &["abc", "a.c"], &["a\nc", "ABC"]),
        ("start: /a.c/s", &["a\nc", "abc"], &["ac"]),
        ("start: /abc/i", &["abc", "ABC"], &["ab"]),
        ("start: /a.c/isi", &["A\nC"], &["ac"]),
        ("start: /a b/x", &["ab"], &["a b"]),
        ("start: /é+/u", &["é", "éé"], &["e"]),
        ("start: /abc/ui", &["ABC"], &["ab"]),
        (r"start: /a\/b\d/", &["a/b1"], &[r"a\/b1", "a/bd"]),
        ("start: /a|b/ \"c\"", &["ac", "bc"], &["a", "c"]),
    ]);
    let look = "unsupported regular expression (look-around and back-references are not supported)";
    are_refused(&[
        ("root ::= []", "line 1 of the grammar: empty character class, found ''"),
        ("root ::= [^]", "line 1 of the grammar: empty character class, found ''"),
        ("root ::= [b-a]", "line 1 of the grammar: the character range is reversed, found ']'"),
        ("root ::= [a", "line 1 of the grammar: the class does not end, found ''"),
        ("root ::= [a-", "line 1 of the grammar: the class does not end, found ''"),
        (r"root ::= [\", "line 1 of the grammar: the text does not end, found ''"),
        (r#"root ::= "\"#, "line 1 of the grammar: the text does not end, found ''"),
        (r#"root ::= "\x4""#, "line 1 of the grammar: expected the code of a character, found '4\"'"),
        (r#"root ::= "\uD800""#, "line 1 of the grammar: expected the code of a character, found 'D800\"'"),
        (r#"root ::= "\u004""#, "line 1 of the grammar: expected the code of a character, found '004\"'"),
        (r#"root ::= "\U0000004""#, "line 1 of the grammar: expected the code of a character, found '0000004\"'"),
        ("start: \"a\"..b", "line 1 of the grammar: expected a text, found 'b'"),
        ("start: /a", "line 1 of the grammar: the regular expression does not end, found ''"),
        (r"start: /a\", "line 1 of the grammar: the regular expression does not end, found ''"),
        ("start: /^a/", &format!("line 1 of the grammar: {look}, found ''")),
        (r"start: /\b/ x", &format!("line 1 of the grammar: {look}, found ' x'")),
        ("start: /(/", &format!("line 1 of the grammar: {look}, found ''")),
        ("start: \"c\"..\"a\"", &format!("line 1 of the grammar: {look}, found ''")),
    ]);
}

#[test]
fn lines_rules_and_comments_are_where_they_may_be() {
    are_held(&[
        ("# first\nroot ::= \"a\" # one\n  | \"b\" # two\n\n# last\n", &["a", "b"], &["ab", "#"]),
        ("root ::=\n  \"a\"\nx ::= \"b\"", &["a"], &["b"]),
        ("root ::= (\"a\"\n\"b\"\n| \"c\"\n)\r\nx ::= root", &["ab", "c"], &["a"]),
        ("root ::= \"a\" |\n \"b\"", &["a", "b"], &[""]),
        ("root ::= a-1 b_2\na-1 ::= \"x\"\nb_2 ::= \"y\"", &["xy"], &["x"]),
        ("root ::= () \"a\"", &["a"], &[""]),
        ("root ::= | \"a\"", &["", "a"], &["aa"]),
        ("start: \"a\" // one\n  | \"b\" # two\n", &["a", "b"], &["/"]),
        ("?start: \"a\" -> one\n  | \"b\" -> two\n", &["a", "b"], &["one"]),
        ("!start: x y\nx: \"a\" -> name\ny: \"b\"", &["ab"], &["a"]),
        ("start : a\na : \"a\"", &["a"], &[""]),
    ]);
    are_refused(&[
        ("root ::= \"a\"\nroot ::= \"b\"", "line 2 of the grammar: duplicate rule 'root', found '\"b\"'"),
        ("start: \"a\"\n\nstart: \"b\"", "line 3 of the grammar: duplicate rule 'start', found '\"b\"'"),
        ("root ::= \"a\"\nb = \"b\"", "line 2 of the grammar: expected '::=', found '= \"b\"'"),
        ("start: \"a\"\nb \"b\"", "line 2 of the grammar: expected ':', found '\"b\"'"),
        ("start: \"a\"\nA.2: \"b\"", "line 2 of the grammar: rule priorities are not supported, found '2: \"b\"'"),
        (
            "start{a}: \"b\"",
            "line 1 of the grammar: rule attributes and parameters are not supported, found '{a}: \"b\"'",
        ),
        ("start: \"a\"\n= b", "line 2 of the grammar: expected the name of a rule, found '= b'"),
        ("root ::= \"a\"\n%ignore \"b\"", "line 2 of the grammar: expected the name of a rule, found '%ignore \"b\"'"),
        ("?root ::= \"a\"", "line 1 of the grammar: expected the name of a rule, found '?root ::= \"a'"),
        ("root ::= (\"a\"", "line 1 of the grammar: expected ')', found ''"),
        ("root ::= \"a\")", "line 1 of the grammar: expected the name of a rule, found ')'"),
        ("start: [\"a\"", "line 1 of the grammar: expected ']', found ''"),
        ("start: [\"a\")", "line 1 of the grammar: expected ']', found ')'"),
        ("start: (\"a\"]", "line 1 of the grammar: expected ')', found ']'"),
        ("start: .", "line 1 of the grammar: expected a text, a name or a group, found '.'"),
        ("root ::= /a/", "line 1 of the grammar: expected a text, a name or a group, found '/a/'"),
        ("root ::= \"a\" ~ 2", "line 1 of the grammar: expected a text, a name or a group, found '~ 2'"),
        ("a ::= \"a\"", "the grammar has no rule 'root'"),
        ("root: \"a\"", "the grammar has no rule 'start'"),
        ("", "the grammar has no rule 'start'"),
        ("root ::= a", "the grammar has no rule 'a', which 'root' refers to"),
        ("start: a b?\na: \"x\"", "the grammar has no rule 'b', which 'start' refers to"),
        (
            "%import lark.NUMBER\nstart: NUMBER",
            "line 1 of the grammar: only %import common.NAME is supported, found 'lark.NUMBER\\n'",
        ),
        ("%import common.NUMBR\nstart: NUMBR", "line 1 of the grammar: unknown import 'NUMBR', found '\\nstart: NUMB'"),
        (
            "%declare A\nstart: A",
            "line 1 of the grammar: only %ignore and %import are supported, found ' A\\nstart: A'",
        ),
    ]);
}

#[test]
fn groups_may_be_nested_twenty_deep_and_no_deeper() {
    let nested = |depth: usize| format!("root ::= {}\"a\"{}", "(".repeat(depth), ")".repeat(depth));
    // The rule itself is the first.
    assert!(takes(&grammar(&nested(19)).unwrap(), "a"));
    let found = format!("\"a\"{}", ")".repeat(9));
    are_refused(&[(
        &nested(20),
        &format!("line 1 of the grammar: groups are nested more than 20 deep, found '{found}'"),
    )]);
    // Groups beside one another are not inside one another.
    let beside = format!("root ::= {}", "(\"a\") ".repeat(50));
    assert!(takes(&grammar(&beside).unwrap(), &"a".repeat(50)));
}

#[test]
fn a_grammar_has_a_size_and_a_depth() {
    let sized = |bytes: usize| {
        let head = "root ::= \"a\" #";
        format!("{head}{}", "x".repeat(bytes - head.len()))
    };
    assert!(takes(&grammar(&sized(64 << 10)).unwrap(), "a"));
    let error = grammar(&sized((64 << 10) + 1)).unwrap_err();
    assert_eq!(error.code(), Code::GrammarTooComplex);
    let message = "Invalid schema for response_format: $: the grammar has 65537 bytes, at most 65536 are allowed";
    assert_eq!((error.message(), error.details()["path"].as_str()), (message, Some("$")));
    let chain = |length: usize| {
        let rules: String = (0..length).map(|n| format!("r{n} ::= \"a\" | r{}\n", n + 1)).collect();
        format!("root ::= r0\n{rules}r{length} ::= \"b\"\n")
    };
    let deepest = (1..200).find(|length| grammar(&chain(*length)).is_err()).expect("some chain is too long");
    let error = grammar(&chain(deepest)).unwrap_err();
    let message = "Invalid schema for response_format: $: grammar rules are nested more than 150 deep";
    assert_eq!((error.code(), error.message()), (Code::GrammarTooComplex, message));
    // Each rule is a choice and the name in it.
    assert_eq!(deepest, 74);
}

/// A rule is judged once: forty that each name the next one twice are no work of 2^40.
#[test]
fn rules_that_others_name_often_are_judged_once() {
    let layers = |count: usize, join: &str| -> String {
        (0..count).map(|n| format!("r{n} ::= r{} {join} r{}\n", n + 1, n + 1)).collect()
    };
    let both = format!("root ::= r0\n{}r40 ::= \"a\"\n", layers(40, "|"));
    let twice = format!("root ::= r0\n{}r3 ::= \"a\"?\n", layers(3, ""));
    // Chains that are long together: what was written before is not followed again.
    let chain: String = (0..280).map(|n| format!("r{n} ::= r{}\n", n + 1)).collect();
    let long = format!("root ::= r140 r0\n{chain}r280 ::= \"a\"\n");
    let long_empty = format!("root ::= r140 r0\n{chain}r280 ::= \"a\"?\n");
    are_held(&[
        (&both, &["a"], &["", "aa"]),
        (&twice, &["", "a", "aaaaaaaa"], &["aaaaaaaaa"]),
        (&long, &["aa"], &["", "a", "aaa"]),
        (&long_empty, &["", "a", "aa"], &["aaa"]),
    ]);
}

#[test]
fn rules_that_call_themselves_end_where_they_may() {
    are_held(&[
        ("root ::= \"(\" root \")\" | \"x\"", &["x", "(x)", "((x))"], &["", "(x", "x)"]),
        ("root ::= a\na ::= \"a\" b | \"a\"\nb ::= \"b\" a", &["a", "aba", "ababa"], &["ab", "b"]),
        (
            "root ::= list\nlist ::= \"[\" (list (\",\" list)*)? \"]\"",
            &["[]", "[[],[]]", "[[[]]]"],
            &["[", "[,]", "[[]"],
        ),
        ("root ::= \"a\" root{0,2} \"b\"", &["ab", "aabb", "aababb"], &["a", "aabababb"]),
        ("root ::= \"a\" root{0} \"b\" | \"c\" root", &["ab", "cab"], &["aabb"]),
        ("root ::= x root? y\nx ::= \"a\"+ \"-\"\ny ::= \"b\"?", &["a-", "aa-b", "a-a-bb"], &["a", "-"]),
        ("root ::= \"a\"? \"b\"? (\"(\" root \")\")?", &["", "a", "ab", "b(a)", "(())"], &["ba", "("]),
        (
            "start: sum\nsum: INT | sum \"+\" INT\n%import common.INT\n%ignore \" \"",
            &["1", "1 +2+3", "1+2"],
            &["+", "1 +"],
        ),
        ("start: \"a\" b\nb: (c | \"x\")+\nc: \"(\" b \")\"", &["ax", "a(x)x", "a((x))"], &["a", "a()"]),
    ]);
    are_refused(&[("start: \"a\"\nb: \"(\" b \")\" | \"x\"\n%ignore b", "'b' is recursive and cannot be ignored")]);
}

/// Oracle: Lark's own `common.lark`.
#[test]
fn imports_stand_for_what_lark_says() {
    for (name, right, wrong) in [
        ("DIGIT", "7", "77"),
        ("HEXDIGIT", "f", "g"),
        ("INT", "077", "-1"),
        ("SIGNED_INT", "-12", "1.0"),
        ("DECIMAL", "1.", "1"),
        ("FLOAT", "1e5", "1"),
        ("SIGNED_FLOAT", "-.5e-1", "-5"),
        ("NUMBER", "12.5", "+1"),
        ("SIGNED_NUMBER", "+12", "e5"),
        ("ESCAPED_STRING", r#""a\"b""#, r#""a"b""#),
        ("LCASE_LETTER", "a", "A"),
        ("UCASE_LETTER", "A", "a"),
        ("LETTER", "z", "1"),
        ("WORD", "Abc", "a1"),
        ("CNAME", "_a1", "1a"),
        ("WS_INLINE", " \t", "\n"),
        ("WS", " \n\r", "a"),
        ("NEWLINE", "\r\n\n", " "),
    ] {
        are_held(&[
            (&format!("%import common.{name}\nstart: {name}"), &[right], &[wrong]),
            (&format!("%import common.{name} -> X\nstart: \"<\" X"), &[&format!("<{right}")], &[&format!("<{wrong}")]),
        ]);
    }
    are_held(&[
        ("%import  common.INT  ->  N  \nstart: N", &["1"], &["a"]),
        ("start: \"a\" \"b\"\n%ignore /[ ]+/\n%ignore \"-\" | \"_\"", &["ab"], &["a.b"]),
    ]);
}
