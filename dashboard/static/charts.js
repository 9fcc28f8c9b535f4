// The one place that knows ECharts: lines over time in the page's colours; must not know what is drawn.
// SPDX-License-Identifier: Apache-2.0

import { byId, moment } from './format.js';

const charts = new Map();
const waiting = new Map();
const SIGNS_ABREAST = 50;

export const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

/**
 * Draws lines over time into the element `id`.
 *
 * panels: [{ lines: [{ name, data, colour, area, dashed, hollow, joined }], limit: { at, name, tone }, format, axis, zero, most }], one grid below the other.
 * from, to: milliseconds. marks: [{ t, text, tone, sign }]. label: the chart in one sentence.
 * Lines take ten times longer than words and figures, and are drawn once those can be seen.
 */
export function draw(id, chart) {
  byId(id).setAttribute('aria-label', chart.label);
  if (!globalThis.echarts) return;
  if (!waiting.size) requestAnimationFrame(() => setTimeout(drawWaiting));
  waiting.set(id, chart);
}

function drawWaiting() {
  const chosen = [...waiting];
  waiting.clear();
  for (const [id, chart] of chosen) {
    drawNow(byId(id), chart);
    document.body.dataset.drawn = chart.to; // for whoever measures how late the lines are
  }
}

function drawNow(element, { panels, from, to, marks = [] }) {
  const { id } = element;
  let chart = charts.get(id);
  if (!chart) {
    chart = echarts.init(element, null, { renderer: 'canvas' });
    charts.set(id, chart);
    new ResizeObserver(() => chart.resize()).observe(element);
  }
  const text = colour('muted');
  const line = colour('line');
  const share = 100 / panels.length;
  const grids = panels.map((_, index) => ({
    left: 44, right: 10, top: `${index * share + (panels.length > 1 ? 7 : 8)}%`,
    height: panels.length > 1 ? `${share - (panels.length > 2 ? 13 : 19)}%` : undefined, bottom: panels.length > 1 ? undefined : 24,
  }));
  chart.setOption({
    animation: false,
    textStyle: { fontFamily: getComputedStyle(document.body).fontFamily },
    grid: grids,
    tooltip: {
      trigger: 'axis', renderMode: 'richText', confine: true, transitionDuration: 0,
      backgroundColor: colour('raised'), borderColor: line, padding: [8, 10],
      textStyle: { color: colour('text'), fontSize: 12 },
      axisPointer: { type: 'line', lineStyle: { color: text, type: 'dashed' }, animation: false },
      formatter: (points) => tip(points, panels, marks, to - from),
    },
    axisPointer: { link: [{ xAxisIndex: 'all' }] },
    xAxis: panels.map((_, index) => ({
      type: 'time', gridIndex: index, min: from, max: to, splitNumber: 5,
      axisLine: { lineStyle: { color: line } }, axisTick: { show: false }, splitLine: { show: false },
      axisLabel: {
        show: index === panels.length - 1, color: text, fontSize: 11, hideOverlap: true,
        formatter: (ts) => moment(ts, to - from), showMinLabel: false, showMaxLabel: false,
      },
    })),
    yAxis: panels.map((panel, index) => ({
      type: 'value', gridIndex: index, scale: !panel.zero, min: panel.zero ? 0 : undefined, splitNumber: panels.length > 1 ? 2 : 3,
      max: panel.most,
      name: panel.name, nameLocation: 'end', nameGap: 11,
      nameTextStyle: { color: text, fontSize: 11, align: 'left', padding: [0, 0, 0, -34] },
      axisLabel: { color: text, fontSize: 11, formatter: panel.axis ?? panel.format },
      splitLine: { lineStyle: { color: colour('grid') } },
    })),
    series: panels.flatMap((panel, index) => panel.lines.map((one, place) => ({
      type: 'line', name: one.name, xAxisIndex: index, yAxisIndex: index, data: one.data,
      showSymbol: Boolean(one.hollow), symbol: 'emptyCircle', symbolSize: 5, connectNulls: Boolean(one.joined), sampling: 'max',
      lineStyle: { width: one.dashed ? 1.5 : 2, color: one.colour, type: one.dashed ? [3, 4] : 'solid' },
      itemStyle: { color: one.colour },
      areaStyle: one.area ? { color: one.colour, opacity: 0.13 } : undefined,
      emphasis: { disabled: true },
      markLine: place ? undefined : markLines(panel, marks, from, to - from, index === 0),
    }))),
  }, { notMerge: true });
}

function markLines(panel, marks, from, rangeMs, first) {
  let signed = -Infinity; // a sign needs room beside the one before
  const data = marks.filter((mark) => mark.t >= from).map((mark) => {
    const show = first && mark.t - signed > rangeMs / SIGNS_ABREAST;
    if (show) signed = mark.t;
    return {
      xAxis: mark.t, name: mark.text, lineStyle: { color: colour(mark.tone), type: 'dotted', width: 1.2 },
      label: { show, formatter: mark.sign, position: 'end', distance: 1, color: colour(mark.tone), fontSize: 9 },
    };
  });
  if (panel.limit != null) {
    data.push({
      yAxis: panel.limit.at, lineStyle: { color: colour(panel.limit.tone ?? 'bad'), type: 'dashed', width: 1.2 },
      label: { show: true, formatter: panel.limit.name, position: 'insideStartTop', color: colour(panel.limit.tone ?? 'bad'), fontSize: 11 },
    });
  }
  return { symbol: 'none', silent: true, animation: false, data };
}

/** The figures under the pointer, and what happened about then. */
function tip(points, panels, marks, rangeMs) {
  const found = points.filter((point) => point.value?.[1] != null);
  if (!found.length) return '';
  const near = marks.filter((mark) => Math.abs(mark.t - points[0].value[0]) < rangeMs / 120).slice(-3).map((mark) => `${mark.sign} ${short(mark.text)}`);
  const formats = new Map(panels.flatMap((panel) => panel.lines.map((line) => [line.name, panel.format])));
  const lines = found.map((point) => `${point.seriesName}  ${formats.get(point.seriesName)(point.value[1])}`);
  return [moment(points[0].value[0], rangeMs), ...lines, ...near].join('\n');
}

const short = (text) => (text.length > 60 ? `${text.slice(0, 59)}…` : text);
