/// Splits a line into words at spaces. Quotes ('…' or "…") and a backslash keep what they hold; a word that begins with
/// `#` begins a comment.
///
/// # Errors
/// Says which quote is not closed.
pub fn split(line: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        match character {
            '#' if word.is_none() => break,
            space if space.is_whitespace() => words.extend(word.take()),
            quote @ ('"' | '\'') => {
                let word = word.get_or_insert_default();
                loop {
                    match characters.next() {
                        Some(end) if end == quote => break,
                        Some('\\') if quote == '"' => word.extend(characters.next()),
                        Some(other) => word.push(other),
                        None => return Err(format!("the quote {quote} is not closed")),
                    }
                }
            }
            '\\' => word.get_or_insert_default().extend(characters.next()),
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        split(line).expect("quotes are closed")
    }

    #[test]
    fn words_quotes_escapes_and_comments() {
        assert_eq!(words("  put 0  foo bar "), ["put", "0", "foo", "bar"]);
        assert_eq!(words(r#"put 0 'a b' "c \"d\"" e\ f"#), ["put", "0", "a b", r#"c "d""#, "e f"]);
        assert_eq!(words("put 0 k ''"), ["put", "0", "k", ""]);
        assert_eq!(words("get 0 a#b # the rest"), ["get", "0", "a#b"]);
        assert!(words("# nothing").is_empty());
        assert!(split("put 0 'a").is_err());
    }
}
