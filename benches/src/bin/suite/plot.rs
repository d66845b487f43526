//! The rates as a plot.

use std::error::Error;
use std::path::Path;

use plotters::prelude::*;

use crate::plan::{Case, RATES, Results};

const SIZE: (u32, u32) = (960, 420);
/// Share of the width that the bars of a row take.
const BARS: f64 = 0.8;

/// Draws a group of bars for each row and parallelism; nothing if no row has a rate.
pub(crate) fn draw(results: &Results, file: &Path) -> Result<(), Box<dyn Error>> {
    let cases: Vec<&Case> = results.0.iter().filter(|case| RATES.contains(&case.row)).collect();
    let Some(programs) = cases.first().map(|case| case.series.len()) else { return Ok(()) };
    let rate = |case: &Case, program: usize| case.series[program].rate().map(|rate| rate / 1e6);
    let rates = cases.iter().flat_map(|case| (0..programs).filter_map(|program| rate(case, program)));
    let (low, high) = rates.fold((f64::MAX, 0.0_f64), |(low, high), rate| (low.min(rate), high.max(rate)));
    let bottom = 10_f64.powf(low.log10().floor());

    let area = SVGBackend::new(file, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .margin(10)
        .x_label_area_size(30)
        .y_label_area_size(60)
        .build_cartesian_2d(-0.5..cases.len() as f64 - 0.5, (bottom..high * 2.0).log_scale())?;
    let group = |at: &f64| {
        let case = cases.get(at.round() as usize).filter(|_| (at - at.round()).abs() < 0.01);
        case.map_or(String::new(), |case| format!("{}, p = {}", case.row, case.parallelism))
    };
    chart
        .configure_mesh()
        .disable_x_mesh()
        .x_labels(2 * cases.len() + 1)
        .x_label_formatter(&group)
        .y_desc("millions of records per second")
        .draw()?;
    for program in 0..programs {
        let color = Palette99::pick(program).to_rgba();
        let width = BARS / programs as f64;
        let bar = |(at, case): (usize, &&Case)| {
            let left = at as f64 - BARS / 2.0 + program as f64 * width;
            rate(case, program)
                .map(|rate| Rectangle::new([(left, bottom), (left + width, rate)], color.filled()))
        };
        chart
            .draw_series(cases.iter().enumerate().filter_map(bar))?
            .label(&cases[0].series[program].name)
            .legend(move |(x, y)| Rectangle::new([(x, y - 5), (x + 10, y + 5)], color.filled()));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .background_style(WHITE)
        .border_style(BLACK)
        .draw()?;
    area.present()?;
    Ok(())
}
