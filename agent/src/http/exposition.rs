//! The text that Prometheus reads, in both of its forms: format 0.0.4, and OpenMetrics 1.0 for who asks for it. How it is
//! written is here; what is in it is not.

use std::collections::BTreeMap;

/// Which of the two is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// Prometheus' own text, version 0.0.4.
    Text,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl Format {
    /// What the answer is labelled with.
    pub(super) const fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    /// What an `Accept` header asks for: OpenMetrics where it is named and nothing else is liked better.
    pub(super) fn asked_for(accept: &str) -> Self {
        let liked = |wanted: &str| {
            let all = accept.split(',').map(|range| {
                let mut parts = range.split(';').map(str::trim);
                let is_it = parts.next().is_some_and(|name| name.eq_ignore_ascii_case(wanted));
                let weight = parts.find_map(|part| part.strip_prefix("q=")?.parse::<f64>().ok());
                if is_it { weight.unwrap_or(1.0) } else { 0.0 }
            });
            all.fold(0.0, f64::max)
        };
        let open = liked("application/openmetrics-text");
        if open > 0.0 && open >= liked("text/plain") {
            Self::OpenMetrics
        } else {
            Self::Text
        }
    }
}

/// What the samples of a family are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    /// A value that goes up and down.
    Gauge,
    /// A value that only grows, from zero at the start of the daemon. Its name ends in `_total`.
    Counter,
    /// Always 1; what it says is in its labels. Its name ends in `_info`.
    Info,
    /// How often, and how much in all: `_count` and `_sum`.
    Summary,
}

impl Type {
    /// The word in `docs/reference/metrics.md`.
    #[cfg(test)]
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Gauge => "gauge",
            Self::Counter => "counter",
            Self::Info => "info",
            Self::Summary => "summary",
        }
    }
}

/// A family: what all samples of one name have in common.
#[derive(Debug)]
pub(super) struct Family {
    /// Its name; that of its samples, but for a summary.
    pub(super) name: &'static str,
    /// What they are.
    pub(super) kind: Type,
    /// What they say.
    pub(super) help: &'static str,
    /// Their labels, in order.
    pub(super) labels: &'static [&'static str],
}

impl Family {
    /// The name and the type as they are announced.
    fn announced(&self, format: Format) -> (&'static str, &'static str) {
        match (self.kind, format) {
            (Type::Gauge, _) => (self.name, "gauge"),
            (Type::Summary, _) => (self.name, "summary"),
            (Type::Counter, Format::Text) => (self.name, "counter"),
            (Type::Counter, Format::OpenMetrics) => (without(self.name, "_total"), "counter"),
            (Type::Info, Format::Text) => (self.name, "gauge"),
            (Type::Info, Format::OpenMetrics) => (without(self.name, "_info"), "info"),
        }
    }
}

fn without(name: &'static str, end: &str) -> &'static str {
    name.strip_suffix(end).unwrap_or(name)
}

/// A text in the making.
#[derive(Debug)]
pub(super) struct Exposition {
    format: Format,
    families: BTreeMap<&'static str, (&'static Family, String)>,
}

impl Exposition {
    /// An empty one.
    pub(super) const fn new(format: Format) -> Self {
        Self {
            format,
            families: BTreeMap::new(),
        }
    }

    /// One sample. `labels` are the values of the family's own, in its order.
    pub(super) fn add(&mut self, family: &'static Family, labels: &[&str], value: impl Value) {
        self.line(family, "", labels, &value.written());
    }

    /// How often something was done, and how many seconds it took in all.
    pub(super) fn add_summary(
        &mut self,
        family: &'static Family,
        labels: &[&str],
        times: u64,
        whole: std::time::Duration,
    ) {
        self.line(family, "_count", labels, &times.written());
        self.line(family, "_sum", labels, &whole.written());
    }

    fn line(&mut self, family: &'static Family, suffix: &str, values: &[&str], value: &str) {
        debug_assert_eq!(family.labels.len(), values.len(), "the labels of {}", family.name);
        let entry = self.families.entry(family.name);
        let (_, lines) = entry.or_insert_with(|| (family, String::new()));
        lines.push_str(family.name);
        lines.push_str(suffix);
        let labels = family.labels.iter().zip(values);
        let labels: Vec<String> = labels
            .map(|(label, value)| format!("{label}=\"{}\"", escaped(value)))
            .collect();
        if !labels.is_empty() {
            lines.push_str(&format!("{{{}}}", labels.join(",")));
        }
        lines.push_str(&format!(" {value}\n"));
    }

    /// All of it, the families by their names.
    pub(super) fn finish(self) -> String {
        let mut text = String::new();
        for (family, lines) in self.families.into_values() {
            let (name, kind) = family.announced(self.format);
            let help = family.help.replace('\\', "\\\\").replace('\n', "\\n");
            text.push_str(&format!("# HELP {name} {help}\n# TYPE {name} {kind}\n{lines}"));
        }
        if self.format == Format::OpenMetrics {
            text.push_str("# EOF\n");
        }
        text
    }
}

/// A label's value, as it stands between quotes.
fn escaped(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    for c in value.chars() {
        match c {
            '\\' => escaped.push_str("\\\\"),
            '"' => escaped.push_str("\\\""),
            '\n' => escaped.push_str("\\n"),
            c => escaped.push(c),
        }
    }
    escaped
}

/// What a sample can be worth: in base units, and never a float that does not hold it.
pub(super) trait Value: Copy {
    /// As it is written.
    fn written(self) -> String;
}

impl Value for bool {
    fn written(self) -> String {
        u64::from(self).written()
    }
}

impl Value for u64 {
    fn written(self) -> String {
        self.to_string()
    }
}

impl Value for usize {
    fn written(self) -> String {
        self.to_string()
    }
}

/// In seconds.
impl Value for std::time::Duration {
    fn written(self) -> String {
        self.as_secs_f64().to_string()
    }
}

/// In seconds since the Unix epoch.
impl Value for jiff::Timestamp {
    fn written(self) -> String {
        let ms = self.as_millisecond();
        match ms.rem_euclid(1000) {
            0 => ms.div_euclid(1000).to_string(),
            _ => format!(
                "{}{}.{:03}",
                if ms < 0 { "-" } else { "" },
                ms.abs() / 1000,
                ms.abs() % 1000
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use expect_test::{Expect, expect};

    use super::*;

    static BUILD: Family = Family {
        name: "x_build_info",
        kind: Type::Info,
        help: "What it is.",
        labels: &["version"],
    };
    static ENDED: Family = Family {
        name: "x_ended_total",
        kind: Type::Counter,
        help: "With a \\ and\na line.",
        labels: &[],
    };
    static SPENT: Family = Family {
        name: "x_spent_seconds",
        kind: Type::Summary,
        help: "How long.",
        labels: &["a", "b"],
    };

    fn check(format: Format, expected: &Expect) {
        let mut text = Exposition::new(format);
        text.add_summary(&SPENT, &["1", ""], 2, Duration::from_millis(1500));
        text.add(&BUILD, &["a\\b\"c\nd é"], true);
        text.add(&ENDED, &[], 7_u64);
        text.add_summary(&SPENT, &["2", ""], 0, Duration::ZERO);
        expected.assert_eq(&text.finish());
    }

    #[test]
    fn each_family_is_announced_once_and_every_value_is_escaped() {
        check(
            Format::Text,
            &expect![[r##"
                # HELP x_build_info What it is.
                # TYPE x_build_info gauge
                x_build_info{version="a\\b\"c\nd é"} 1
                # HELP x_ended_total With a \\ and\na line.
                # TYPE x_ended_total counter
                x_ended_total 7
                # HELP x_spent_seconds How long.
                # TYPE x_spent_seconds summary
                x_spent_seconds_count{a="1",b=""} 2
                x_spent_seconds_sum{a="1",b=""} 1.5
                x_spent_seconds_count{a="2",b=""} 0
                x_spent_seconds_sum{a="2",b=""} 0
            "##]],
        );
        check(
            Format::OpenMetrics,
            &expect![[r##"
                # HELP x_build What it is.
                # TYPE x_build info
                x_build_info{version="a\\b\"c\nd é"} 1
                # HELP x_ended With a \\ and\na line.
                # TYPE x_ended counter
                x_ended_total 7
                # HELP x_spent_seconds How long.
                # TYPE x_spent_seconds summary
                x_spent_seconds_count{a="1",b=""} 2
                x_spent_seconds_sum{a="1",b=""} 1.5
                x_spent_seconds_count{a="2",b=""} 0
                x_spent_seconds_sum{a="2",b=""} 0
                # EOF
            "##]],
        );
    }

    #[test]
    fn a_time_is_in_seconds() {
        let at = |ms| jiff::Timestamp::from_millisecond(ms).map(Value::written);
        for (ms, expected) in [
            (0, "0"),
            (1_748_872_800_120, "1748872800.120"),
            (-1_500, "-1.500"),
            (-2_000, "-2"),
        ] {
            assert_eq!(at(ms).ok().as_deref(), Some(expected));
        }
        assert_eq!(Duration::from_millis(250).written(), "0.25");
    }

    #[test]
    fn the_form_is_the_one_that_is_liked_best() {
        let prometheus = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,\
                          application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;q=0.3,*/*;q=0.1";
        for (accept, expected) in [
            (prometheus, Format::OpenMetrics),
            ("Application/OpenMetrics-Text; version=1.0.0", Format::OpenMetrics),
            (
                "application/openmetrics-text;q=0.3, text/plain;q=0.5",
                Format::Text,
            ),
            ("application/openmetrics-text;q=0", Format::Text),
            ("application/openmetrics-text-of-mine", Format::Text),
            ("text/html,*/*;q=0.8", Format::Text),
            ("*/*", Format::Text),
            ("", Format::Text),
            (";;q=,,", Format::Text),
        ] {
            assert_eq!(Format::asked_for(accept), expected, "{accept}");
        }
    }
}
