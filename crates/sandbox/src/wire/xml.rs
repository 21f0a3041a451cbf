//! A writer for the XML of Query answers.

use std::fmt::{Display, Write as _};

/// XML text under construction: the inside of one element.
#[derive(Clone, Debug, Default)]
pub(crate) struct Xml(String);

impl Xml {
    /// No content.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// `<name>value</name>`, escaped.
    pub(crate) fn text(&mut self, name: &str, value: impl Display) -> &mut Self {
        self.open(name);
        // Writing to a String cannot fail.
        let _ = write!(Escape(&mut self.0), "{value}");
        self.close(name)
    }

    /// The same, or nothing when there is no value.
    pub(crate) fn optional(&mut self, name: &str, value: Option<impl Display>) -> &mut Self {
        if let Some(value) = value {
            self.text(name, value);
        }
        self
    }

    /// `<name>…</name>` with what `content` writes (`<name></name>` when it writes nothing).
    pub(crate) fn element(&mut self, name: &str, content: impl FnOnce(&mut Xml)) -> &mut Self {
        self.open(name);
        content(self);
        self.close(name)
    }

    /// A list of structures: `<name><member>…</member>…</name>`.
    pub(crate) fn list<T>(
        &mut self,
        name: &str,
        items: impl IntoIterator<Item = T>,
        mut content: impl FnMut(&mut Xml, T),
    ) -> &mut Self {
        self.element(name, |list| {
            for item in items {
                list.element("member", |member| content(member, item));
            }
        })
    }

    /// A list of scalars: `<name><member>value</member>…</name>`.
    pub(crate) fn strings(
        &mut self,
        name: &str,
        items: impl IntoIterator<Item = impl Display>,
    ) -> &mut Self {
        self.element(name, |list| {
            for item in items {
                list.text("member", item);
            }
        })
    }

    /// What was written so far.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    fn open(&mut self, name: &str) {
        self.0.push('<');
        self.0.push_str(name);
        self.0.push('>');
    }

    fn close(&mut self, name: &str) -> &mut Self {
        self.0.push_str("</");
        self.0.push_str(name);
        self.0.push('>');
        self
    }
}

struct Escape<'a>(&'a mut String);

impl std::fmt::Write for Escape<'_> {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        for c in text.chars() {
            match c {
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '&' => self.0.push_str("&amp;"),
                '"' => self.0.push_str("&quot;"),
                '\r' => self.0.push_str("&#13;"),
                // Not allowed in XML 1.0 at all.
                '\0'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' => self.0.push('?'),
                c => self.0.push(c),
            }
        }
        Ok(())
    }
}

/// What an operation of the Query protocol answers.
#[derive(Debug)]
pub(crate) enum QueryReply {
    /// The inside of `<{Operation}Result>`, written also when it is empty.
    Result(Xml),
    /// An operation without an output shape (DeleteStack): metadata only.
    NoResult,
}

impl From<Xml> for QueryReply {
    fn from(xml: Xml) -> Self {
        Self::Result(xml)
    }
}

impl QueryReply {
    /// The whole document. The Result element comes first: the Rust SDK insists on it.
    pub(crate) fn to_document(&self, operation: &str, namespace: &str, request_id: &str) -> String {
        let mut out = format!("<{operation}Response xmlns=\"{namespace}\">");
        if let Self::Result(xml) = self {
            let _ = write!(
                out,
                "<{operation}Result>{}</{operation}Result>",
                xml.as_str()
            );
        }
        let _ = writeln!(
            out,
            "<ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata></{operation}Response>"
        );
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_result_comes_before_the_metadata_and_text_is_escaped() {
        let mut xml = Xml::new();
        xml.text("Name", "a<b>&\"c\"")
            .strings("Regions", ["us-east-1"])
            .list("Empty", Vec::<u8>::new(), |_, _| {});
        assert_eq!(
            QueryReply::from(xml).to_document("Op", "urn:x", "r1"),
            "<OpResponse xmlns=\"urn:x\"><OpResult><Name>a&lt;b&gt;&amp;&quot;c&quot;</Name>\
             <Regions><member>us-east-1</member></Regions><Empty></Empty></OpResult>\
             <ResponseMetadata><RequestId>r1</RequestId></ResponseMetadata></OpResponse>\n"
        );
        assert!(
            !QueryReply::NoResult
                .to_document("Op", "urn:x", "r1")
                .contains("OpResult")
        );
    }
}
