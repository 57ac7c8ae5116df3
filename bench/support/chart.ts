// Draws a bar chart as SVG. vega is in `bench/package.json` alone: users of the pool never load it.

import { parse, View } from 'vega';
import { compile, type TopLevelSpec } from 'vega-lite';

export interface Bar {
  readonly name: string;
  readonly value: number;
  readonly group?: string;
}

/** Horizontal bars in the order given, one panel per `group`. */
export async function barChart(options: {
  title: string;
  subtitle: string;
  axis: string;
  scale: 'linear' | 'log';
  bars: readonly Bar[];
}): Promise<string> {
  const { title, subtitle, axis, scale, bars } = options;
  // A bar on a log scale needs somewhere to start; zero has no place there.
  const smallest = Math.min(...bars.map((bar) => bar.value).filter((value) => value > 0));
  const start = scale === 'log' ? 10 ** Math.floor(Math.log10(smallest) - 0.3) : 0;
  const groups = [...new Set(bars.map((bar) => bar.group))];
  const panels = groups.map((group) =>
    panel(
      group,
      { title: axis, scale: { type: scale }, start },
      bars.filter((bar) => bar.group === group),
    ),
  );
  const spec = {
    title: { text: title, subtitle, anchor: 'start', offset: 14 },
    background: 'white',
    padding: 16,
    vconcat: panels,
    config: { font: 'DejaVu Sans', view: { stroke: null }, axisY: { minExtent: 240 } },
  };
  const view = new View(parse(compile(spec as unknown as TopLevelSpec).spec), { renderer: 'none' });
  return view.toSVG();
}

function panel(
  group: string | undefined,
  axis: { title: string; scale: { type: string }; start: number },
  bars: readonly Bar[],
): object {
  const { title, scale, start } = axis;
  const values = bars.map(({ name, value }) => ({
    name,
    start,
    value: Math.max(value, start),
    label: value.toLocaleString('en', { maximumSignificantDigits: 3 }),
  }));
  const y = { field: 'name', type: 'nominal', sort: null, axis: { title: null, labelLimit: 320 } };
  const value = { field: 'value', type: 'quantitative', title, scale };
  return {
    ...(group && { title: { text: group, anchor: 'start', fontSize: 11 } }),
    width: 460,
    height: { step: 28 },
    data: { values },
    layer: [
      {
        mark: { type: 'bar', color: '#3b6ea5', height: 18 },
        encoding: { y, x: value, x2: { field: 'start' } },
      },
      {
        mark: { type: 'text', align: 'left', dx: 5 },
        encoding: { y, x: value, text: { field: 'label' } },
      },
    ],
  };
}
