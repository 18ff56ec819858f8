//! The chart: one panel of bars per figure, readable on light and dark pages.

use std::fmt::Write as _;

use crate::figures::{Figures, ToolFigures};

const WIDTH: f64 = 820.0;
const LEFT: f64 = 110.0;
/// Room for the label behind the longest bar.
const RIGHT: f64 = 190.0;
const BAR: f64 = 16.0;
const STEP: f64 = 24.0;

struct Panel<'a> {
    title: &'static str,
    bars: Vec<Bar<'a>>,
}

struct Bar<'a> {
    name: &'a str,
    value: f64,
    label: String,
}

pub(crate) fn svg(figures: &Figures) -> String {
    let subject = figures.tools.iter().find(|tool| tool.life.is_some()).map(|tool| tool.name.as_str());
    let mut body = String::new();
    let written = write_panels(&mut body, figures, subject.unwrap_or_default());
    // Writing to a String cannot fail.
    let height = written.unwrap_or_default();
    format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img" aria-label="Benchmark: time, system calls and memory of container runtimes">
<style>
text {{ font: 13px system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; fill: #1f2328; }}
.title {{ font-weight: 600; font-size: 14px; }}
.note {{ font-size: 11px; fill: #59636e; }}
.name {{ text-anchor: end; }}
.ours {{ font-weight: 600; }}
rect {{ fill: #afb8c1; }}
rect.ours {{ fill: #1a7f37; }}
rect.floor {{ fill: #d8dee4; }}
@media (prefers-color-scheme: dark) {{
  text {{ fill: #e6edf3; }}
  .note {{ fill: #9198a1; }}
  rect {{ fill: #656c76; }}
  rect.ours {{ fill: #3fb950; }}
  rect.floor {{ fill: #3d444d; }}
}}
</style>
{body}</svg>
"#
    )
}

fn write_panels(body: &mut String, figures: &Figures, subject: &str) -> Result<f64, std::fmt::Error> {
    let mut y = 8.0;
    for panel in panels(figures, subject) {
        y += 18.0;
        writeln!(body, r#"<text class="title" x="8" y="{y}">{}</text>"#, escape(panel.title))?;
        y += 10.0;
        let longest = panel.bars.iter().map(|bar| bar.value).fold(0.0, f64::max);
        for bar in panel.bars {
            let class = if bar.name == subject {
                "ours"
            } else if bar.name == "floor" {
                "floor"
            } else {
                "peer"
            };
            let width = (bar.value / longest * (WIDTH - LEFT - RIGHT)).max(1.0);
            let (base, behind) = (y + 13.0, LEFT + width + 8.0);
            writeln!(
                body,
                r#"<text class="name {class}" x="{:.0}" y="{base}">{}</text>"#,
                LEFT - 8.0,
                escape(bar.name)
            )?;
            writeln!(body, r#"<rect class="{class}" x="{LEFT}" y="{y}" width="{width:.1}" height="{BAR}" rx="2"/>"#)?;
            writeln!(body, r#"<text class="{class}" x="{behind:.1}" y="{base}">{}</text>"#, escape(&bar.label))?;
            y += STEP;
        }
        y += 6.0;
    }
    y += 10.0;
    let versions: Vec<&str> = figures.tools.iter().filter_map(|tool| tool.version.as_deref()).collect();
    let machine =
        format!("Linux {}, {} processors. Medians of {} rounds.", figures.kernel, figures.processors, figures.rounds);
    for note in [
        format!("{}. {machine}", versions.join(", ")),
        "floor: the bare system calls of one run, without a runtime.".to_owned(),
    ] {
        writeln!(body, r#"<text class="note" x="8" y="{y}">{}</text>"#, escape(&note))?;
        y += 16.0;
    }
    Ok(y)
}

fn panels<'a>(figures: &'a Figures, subject: &str) -> Vec<Panel<'a>> {
    let life = |tool: &ToolFigures| tool.life.as_ref().map(|life| life.total.median);
    let exec = |tool: &ToolFigures| tool.life.as_ref().map(|life| life.exec.median);
    let mut panels = vec![
        times(figures, subject, "run /bin/true, default spec (ms)", |tool| Some(tool.run.median)),
        times(figures, subject, "create + start + state + kill + delete, single commands (ms)", life),
        times(figures, subject, "exec of /bin/true in a running container (ms)", exec),
        plain(figures, "system calls of one run, all processes", |tool| {
            let calls = tool.counts.total_calls()?;
            Some((calls as f64, calls.to_string()))
        }),
        plain(figures, "peak memory of the runtime's process (MB)", |tool| {
            let peak = tool.counts.own_peak * 1024.0 / 1e6;
            Some((peak, format!("{peak:.1}")))
        }),
    ];
    panels.retain(|panel| !panel.bars.is_empty());
    panels
}

/// Bars of times, with what multiple of the subject's each one is.
fn times<'a>(
    figures: &'a Figures,
    subject: &str,
    title: &'static str,
    time: impl Fn(&ToolFigures) -> Option<f64>,
) -> Panel<'a> {
    let ours = figures.tools.iter().find(|tool| tool.name == subject).and_then(&time);
    let bars = figures.tools.iter().filter_map(|tool| {
        let value = time(tool)?;
        let label = match ours {
            Some(ours) if tool.name != subject => format!("{:.2}  ({:.1} x)", value / 1e3, value / ours),
            _ => format!("{:.2}", value / 1e3),
        };
        Some(Bar { name: &tool.name, value, label })
    });
    Panel { title, bars: bars.collect() }
}

fn plain<'a>(
    figures: &'a Figures,
    title: &'static str,
    figure: impl Fn(&ToolFigures) -> Option<(f64, String)>,
) -> Panel<'a> {
    let bars = figures.tools.iter().filter_map(|tool| {
        let (value, label) = figure(tool)?;
        Some(Bar { name: &tool.name, value, label })
    });
    Panel { title, bars: bars.collect() }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
