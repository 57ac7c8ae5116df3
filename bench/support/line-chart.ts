// Draws lines over time as SVG, one panel under the other. As in `chart.ts`, vega is in
// `bench/package.json` alone.

import { parse, View } from 'vega';
import { compile, type TopLevelSpec } from 'vega-lite';

export interface Point {
  readonly x: number;
  readonly y: number;
  readonly line: string;
  readonly panel: string;
}

const COLORS = ['#3b6ea5', '#d1722b', '#8a8a8a', '#5f9e5f'];

/** Panels and lines in the order of their first points. A rule stands at x = 0. */
export async function lineChart(options: {
  title: string;
  subtitle: string;
  x: string;
  y: string;
  points: readonly Point[];
}): Promise<string> {
  const { title, subtitle, points } = options;
  const lines = [...new Set(points.map(({ line }) => line))];
  const panels = [...new Set(points.map(({ panel }) => panel))];
  const top = Math.max(...points.map(({ y }) => y));
  const color = {
    field: 'line',
    type: 'nominal',
    scale: { domain: lines, range: COLORS },
    legend: { title: null, orient: 'top' },
  };
  const axes = {
    x: { field: 'x', type: 'quantitative', title: options.x },
    y: { field: 'y', type: 'quantitative', title: options.y, scale: { domain: [0, top] } },
  };
  const spec = {
    title: { text: title, subtitle, anchor: 'start', offset: 14 },
    background: 'white',
    padding: 16,
    vconcat: panels.map((panel) => ({
      title: { text: panel, anchor: 'start', fontSize: 11 },
      width: 640,
      height: 150,
      layer: [
        {
          data: { values: [{ x: 0 }] },
          mark: { type: 'rule', color: '#444', strokeDash: [4, 3] },
          encoding: { x: axes.x },
        },
        {
          data: { values: points.filter((point) => point.panel === panel) },
          mark: { type: 'line', interpolate: 'monotone', strokeWidth: 1.5 },
          encoding: { ...axes, color },
        },
      ],
    })),
    config: { font: 'DejaVu Sans', view: { stroke: null } },
  };
  const view = new View(parse(compile(spec as unknown as TopLevelSpec).spec), { renderer: 'none' });
  return view.toSVG();
}
