//! What every page is framed by: styles, scripts, and what it may do.

use maud::{DOCTYPE, Markup, PreEscaped, html};

/// Nothing may be loaded, from anywhere: all that a page needs is in it.
const POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'";

const CSS: &str = include_str!("../../assets/report.css");
const CHARTS_CSS: &str = include_str!("../../assets/uPlot.min.css");
const CHARTS: &str = include_str!("../../assets/uPlot.iife.min.js");
const SCRIPT: &str = include_str!("../../assets/report.js");

/// A page with this content; with charts of this data, if there is any.
pub fn frame(title: &str, content: &Markup, data: Option<&serde_json::Value>) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="referrer" content="no-referrer";
                // Without one, browsers ask for a file.
                link rel="icon" href="data:,";
                title { (title) }
                style { (PreEscaped(CSS)) }
                @if data.is_some() { style { (PreEscaped(CHARTS_CSS)) } }
            }
            body {
                main { (content) }
                @if let Some(data) = data {
                    script type="application/json" id="data" { (PreEscaped(json(data))) }
                    script { (PreEscaped(CHARTS)) }
                    script { (PreEscaped(SCRIPT)) }
                }
            }
        }
    };
    page.into_string()
}

/// JSON in which nothing can end the element that it is in.
fn json(data: &serde_json::Value) -> String {
    data.to_string().replace('<', "\\u003c")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_can_not_end_its_element() {
        let data = serde_json::json!({ "name": "</script><!--" });
        let text = json(&data);
        assert!(!text.contains('<'));
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), data);
    }

    #[test]
    fn nothing_that_is_included_ends_its_element() {
        assert!(!CHARTS.contains("</script") && !SCRIPT.contains("</script"));
        assert!(!CSS.contains("</style") && !CHARTS_CSS.contains("</style"));
    }
}
