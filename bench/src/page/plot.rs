//! Plots as SVG: they are read beside the tables, which have the figures.

use plotters::{
    coord::Shift,
    prelude::{
        ChartBuilder, DrawingArea, IntoDrawingArea as _, IntoFont as _, LineSeries, Rectangle, SVGBackend, Text,
    },
    style::{BLACK, Color as _, RGBColor, WHITE},
};

use crate::error::{Error, Result};

/// Pixels.
const WIDTH: u32 = 860;
const BAR: i32 = 16;
const GAP: i32 = 14;
const TITLE: i32 = 36;
const NAMES: i32 = 240;
/// Behind the longest bar, for its figure.
const FIGURES: i32 = 90;
const LINES_HEIGHT: u32 = 300;
const FONT: &str = "sans-serif";
const FONT_SIZE: i32 = 13;
const TITLE_SIZE: i32 = 16;
/// One for each system, told apart by people who see few colours too (Okabe and Ito).
const COLOURS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(86, 180, 233),
    RGBColor(0, 158, 115),
    RGBColor(213, 94, 0),
    RGBColor(230, 159, 0),
    RGBColor(204, 121, 167),
    RGBColor(90, 90, 90),
];

/// A bar: whose it is, by number, how it is called, and how long.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Bar {
    pub(super) system: usize,
    pub(super) name: String,
    pub(super) figure: f64,
}

/// Bars that stand together.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Group {
    pub(super) name: String,
    pub(super) bars: Vec<Bar>,
}

/// A line of time and figure.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Line {
    pub(super) name: String,
    pub(super) points: Vec<(f64, f64)>,
}

/// Bars from the left, on one scale from zero in each group: loads differ too much for one of all, and a logarithm would make
/// ten times look like little.
pub(super) fn bars(title: &str, unit: &str, groups: &[Group]) -> Result<String> {
    let rows: i32 = groups.iter().map(|group| BAR * (1 + group.bars.len() as i32) + GAP).sum();
    let height = u32::try_from(TITLE + rows + GAP).unwrap_or(LINES_HEIGHT);
    draw(height, |area| {
        text(area, title, (10, 10), TITLE_SIZE)?;
        let mut top = TITLE;
        for group in groups {
            text(area, &format!("{} ({unit})", group.name), (10, top), FONT_SIZE)?;
            top += BAR;
            let most = group.bars.iter().map(|bar| bar.figure).fold(0.0, f64::max);
            for bar in &group.bars {
                let room = f64::from(WIDTH as i32 - NAMES - FIGURES);
                let length = if most > 0.0 { (bar.figure / most * room).round() as i32 } else { 0 };
                let ends = [(NAMES, top + 2), (NAMES + length.max(1), top + BAR - 2)];
                area.draw(&Rectangle::new(ends, colour(bar.system).filled())).map_err(failed)?;
                text(area, &bar.name, (30, top + 2), FONT_SIZE)?;
                text(area, &shown(bar.figure), (NAMES + length + 6, top + 2), FONT_SIZE)?;
                top += BAR;
            }
            top += GAP;
        }
        Ok(())
    })
}

/// Figures over time, from zero.
pub(super) fn lines(title: &str, unit: &str, lines: &[Line]) -> Result<String> {
    let points = || lines.iter().flat_map(|line| &line.points);
    let most = |of: fn(&(f64, f64)) -> f64| points().map(of).fold(f64::MIN_POSITIVE, f64::max);
    let (seconds, figure) = (most(|point| point.0), most(|point| point.1) * 1.1);
    draw(LINES_HEIGHT, |area| {
        text(area, &format!("{title} ({unit}, over seconds)"), (10, 10), TITLE_SIZE)?;
        let mut chart = ChartBuilder::on(area)
            .margin_top(TITLE)
            .margin_right(20)
            .x_label_area_size(30)
            .y_label_area_size(70)
            .build_cartesian_2d(0.0..seconds, 0.0..figure)
            .map_err(failed)?;
        chart
            .configure_mesh()
            .light_line_style(WHITE)
            .y_label_formatter(&|figure| shown(*figure))
            .draw()
            .map_err(failed)?;
        for (index, line) in lines.iter().enumerate() {
            chart.draw_series(LineSeries::new(line.points.iter().copied(), colour(index))).map_err(failed)?;
            let x = 90 + 160 * index as i32;
            let ends = [(x, TITLE - 4), (x + 20, TITLE - 2)];
            area.draw(&Rectangle::new(ends, colour(index).filled())).map_err(failed)?;
            text(area, &line.name, (x + 26, TITLE - 9), FONT_SIZE)?;
        }
        Ok(())
    })
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

fn draw(height: u32, draw: impl FnOnce(&Area<'_>) -> Result<()>) -> Result<String> {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (WIDTH, height)).into_drawing_area();
        area.fill(&WHITE).map_err(failed)?;
        draw(&area)?;
        area.present().map_err(failed)?;
    }
    Ok(svg)
}

fn text(area: &Area<'_>, text: &str, at: (i32, i32), size: i32) -> Result<()> {
    area.draw(&Text::new(text.to_owned(), at, (FONT, size).into_font().color(&BLACK))).map_err(failed)
}

fn colour(index: usize) -> RGBColor {
    COLOURS[index % COLOURS.len()]
}

/// Three digits that count: 1.2M, 340k, 12, 0.4.
fn shown(figure: f64) -> String {
    match figure {
        1e6.. => format!("{:.2}M", figure / 1e6),
        1e4.. => format!("{:.0}k", figure / 1e3),
        1e3.. => format!("{:.1}k", figure / 1e3),
        10.0.. => format!("{figure:.0}"),
        _ => format!("{figure:.2}"),
    }
}

fn failed(error: impl std::fmt::Display) -> Error {
    Error::Unreadable { what: "a plot".to_owned(), why: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_as_long_as_their_figures() {
        let bar = |system, figure| Bar { system, name: format!("system {system}"), figure };
        let group = Group { name: "put".to_owned(), bars: vec![bar(0, 200.0), bar(1, 100.0)] };
        let svg = bars("Writes", "a second", &[group]).expect("it can be drawn");
        let widths: Vec<_> = svg.split("width=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
        // The picture, its background, two bars.
        assert_eq!(widths, ["860", "860", "530", "265"], "{svg}");
        assert!(svg.contains("system 1") && svg.contains("put (a second)") && svg.ends_with("</svg>\n"), "{svg}");
    }

    #[test]
    fn lines_have_names_and_an_axis_from_zero() {
        let line = Line { name: "kv".to_owned(), points: vec![(0.0, 10.0), (5.0, 20.0)] };
        let svg = lines("Memory", "MiB", &[line]).expect("it can be drawn");
        assert!(svg.contains("polyline") && svg.contains("kv") && svg.contains("0.00"), "{svg}");
        assert!(lines("Memory", "MiB", &[]).is_ok());
    }

    #[test]
    fn figures_are_short() {
        assert_eq!([0.25, 12.0, 1_500.0, 12_345.0, 2_345_678.0].map(shown), ["0.25", "12", "1.5k", "12k", "2.35M"]);
    }
}
