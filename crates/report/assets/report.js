// Charts from the samples that lie in the page, and the filters of its tables.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const made = [];

  const bytes = (value) => {
    if (value == null) return "–";
    const size = Math.abs(value);
    for (const [unit, one] of [["GiB", 2 ** 30], ["MiB", 2 ** 20], ["KiB", 1024]]) {
      if (size >= one) return (value / one).toFixed(unit === "KiB" ? 1 : 2) + " " + unit;
    }
    return Math.round(value) + " B";
  };
  const growth = (value) => (value == null ? "–" : (value > 0 ? "+" : "") + bytes(value));
  const count = (value) => (value == null ? "–" : String(value));

  // Ticks at whole steps of a unit of bytes.
  const byteTicks = (chart, axis, min, max) => {
    const rough = (max - min) / 5 || 1;
    let step = 1024;
    for (const factor of [2, 2.5, 2]) if (step < rough) step *= factor;
    while (step < rough) step *= 2;
    const ticks = [];
    for (let tick = Math.ceil(min / step) * step; tick <= max; tick += step) ticks.push(tick);
    return ticks;
  };

  // A series that is the same in all rounds is kept as one number.
  const series = (process, name) => {
    const values = process[name];
    return Array.isArray(values)
      ? values.map((value) => value * (process.unit[name] || 1))
      : process.rounds.map(() => values * (process.unit[name] || 1));
  };

  // The fitted growth and its band: through the middle of the rounds that were judged.
  const fitted = (process, values, slope) => {
    const judged = process.rounds.map((round, index) => (round > process.fit.warmUp ? index : -1)).filter((i) => i >= 0);
    if (judged.length < 2) return null;
    const middle = judged.reduce((sum, i) => sum + process.rounds[i], 0) / judged.length;
    const level = judged.reduce((sum, i) => sum + values[i], 0) / judged.length;
    const first = process.rounds[judged[0]];
    return process.rounds.map((round) => (round >= first ? level + slope * (round - middle) : null));
  };

  const shadeWarmUp = (process) => (chart) => {
    if (!process.fit || !process.fit.warmUp) return;
    const { ctx, bbox } = chart;
    const end = Math.min(chart.valToPos(process.fit.warmUp, "x", true), bbox.left + bbox.width);
    ctx.save();
    ctx.fillStyle = css("--shade");
    ctx.fillRect(bbox.left, bbox.top, Math.max(0, end - bbox.left), bbox.height);
    ctx.fillStyle = css("--faint");
    ctx.font = `${11 * devicePixelRatio}px system-ui, sans-serif`;
    ctx.textAlign = "left";
    ctx.textBaseline = "top";
    if (end - bbox.left > 60 * devicePixelRatio) {
      ctx.fillText("warm-up", bbox.left + 6 * devicePixelRatio, bbox.top + 5 * devicePixelRatio);
    }
    ctx.restore();
  };

  const line = (label, colour, dash, show) => ({ label, stroke: css(colour), width: 1.75, dash, value: (u, v, i, index) => show(v, index), points: { show: false } });

  const specifications = (process) => {
    const held = ["private", "resident", "proportional"].map((name) => series(process, name));
    const changes = held.map((values) => values.map((value) => value - values[0]));
    // What is drawn is the change; what is said is the size too.
    const both = (which) => (change, index) => (change == null ? "–" : `${bytes(held[which][index])} (${growth(change)})`);
    const first = {
      host: "memory", height: 240, show: growth,
      lines: [line("private", "--one", [], both(0)), line("resident", "--two", [8, 4], both(1)), line("PSS", "--three", [2, 3], both(2))],
      values: changes, bands: [],
    };
    if (process.fit) {
      const fit = fitted(process, changes[0], process.fit.slope);
      if (fit) {
        first.lines.push({ ...line("fitted", "--text", [3, 3], growth), width: 1 });
        first.values.push(fit);
        if (process.fit.interval) {
          const bounds = process.fit.interval.map((slope) => fitted(process, changes[0], slope));
          // The two lines cross in the middle.
          const [low, high] = [Math.min, Math.max].map((end) =>
            bounds[0].map((value, index) => (value == null ? null : end(value, bounds[1][index]))));
          first.lines.push({ ...line("90 % sure from", "--one", [], growth), width: 0 }, { ...line("to", "--one", [], growth), width: 0 });
          first.values.push(low, high);
          first.bands.push({ series: [first.values.length, first.values.length - 1], fill: css("--band") });
        }
      }
    }
    return [
      first,
      { host: "aside", height: 160, show: bytes, bands: [],
        lines: [line("swap", "--one", [], bytes), line("lazily freed", "--two", [8, 4], bytes), line("huge pages", "--three", [2, 3], bytes)],
        values: [series(process, "swap"), series(process, "lazyFree"), series(process, "huge")] },
      { host: "counts", height: 160, show: count, bands: [],
        lines: [line("mappings", "--one", [], count), line("threads", "--two", [8, 4], count), line("descriptors", "--three", [2, 3], count)],
        values: [series(process, "mappings"), series(process, "threads"), series(process, "descriptors")] },
    ];
  };

  // A chart in its place: `along` says what lies along the axis, and what else the chart does.
  const chartIn = (host, specification, along) => {
    const axis = { stroke: css("--faint"), grid: { stroke: css("--grid"), width: 1 }, ticks: { stroke: css("--grid"), width: 1 } };
    const sizes = specification.show !== count;
    const chart = new uPlot({
      width: host.clientWidth, height: specification.height,
      cursor: { sync: { key: along.sync }, drag: { x: true, y: false }, points: { size: 7 }, ...along.cursor },
      scales: { x: { time: false }, y: { range: (u, min, max) => uPlot.rangeNum(min, max, { min: { pad: .08, soft: 0, mode: 2 }, max: { pad: .08, soft: sizes ? 4096 : 1, mode: 2 } }) } },
      series: [{ label: along.label }, ...specification.lines],
      bands: specification.bands,
      axes: [{ ...axis, size: 34, incrs: along.incrs }, { ...axis, size: 84, splits: sizes ? byteTicks : undefined, values: (u, ticks) => ticks.map((tick) => (sizes ? specification.show(tick) : Number.isInteger(tick) ? tick : "")) }],
      hooks: { drawClear: along.drawClear ?? [], ready: [(ready) => ready.setLegend({ idx: along.values.length - 1 })] },
    }, [along.values, ...specification.values], host);
    made.push({ chart, host });
    walk(chart, host, along.values);
  };

  const STEPS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000];

  const draw = (process, number) => {
    if (process.rounds.length < 2) return;
    for (const specification of specifications(process)) {
      const host = document.getElementById(`${specification.host}-${number}`);
      if (!host) continue;
      chartIn(host, specification, {
        label: "round", values: process.rounds, incrs: STEPS, sync: `process-${number}`, drawClear: [shadeWarmUp(process)],
      });
    }
  };

  const COLOURS = ["--one", "--two", "--three", "--four", "--five", "--six"];
  const DASHES = [[], [8, 4], [2, 3], [12, 3, 2, 3], [5, 5], [1, 2]];

  // The sample nearest in time that this line has: processes have theirs at moments of their own.
  const nearest = (u, series, index) => {
    const values = u.data[series];
    if (series === 0 || index == null || values[index] != null) return index;
    for (let away = 1; away < values.length; away++) {
      if (values[index - away] != null) return index - away;
      if (values[index + away] != null) return index + away;
    }
    return index;
  };

  const drawLoad = (lines, number) => {
    const host = document.getElementById(`load-${number}`);
    const [seconds, ...values] = uPlot.join(lines.map((one) => [one.seconds, one.values]));
    if (!host || seconds.length < 2) return;
    const styled = (one, index) => ({ ...line(one.label, COLOURS[index % COLOURS.length], DASHES[index % DASHES.length], bytes), spanGaps: true });
    chartIn(host, { height: 240, show: bytes, bands: [], lines: lines.map(styled), values }, {
      label: "seconds", values: seconds, incrs: [.01, .02, .05, .1, .2, .5, ...STEPS, 10000], sync: "loads", cursor: { dataIdx: nearest },
    });
  };

  // The arrow keys move the cursor from round to round, or sample to sample.
  const walk = (chart, host, places) => {
    host.onkeydown = (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10, Home: -places.length, End: places.length }[event.key];
      if (!step) return;
      event.preventDefault();
      const from = chart.cursor.idx ?? (step > 0 ? -1 : places.length);
      const to = Math.max(0, Math.min(places.length - 1, from + step));
      chart.setCursor({ left: chart.valToPos(places[to], "x"), top: chart.over.clientHeight / 2 });
    };
  };

  const drawAll = () => {
    for (const { chart } of made.splice(0)) chart.destroy();
    (data.processes ?? []).forEach(draw);
    (data.loads ?? []).forEach(drawLoad);
  };

  // The values as a table, for whoever can't see the charts; made when it is asked for.
  const tabulate = (details) => {
    const process = data.processes[Number(details.dataset.process)];
    const names = ["private", "resident", "proportional", "swap", "lazyFree", "huge", "mappings", "threads", "descriptors"];
    const table = document.createElement("table");
    const row = (cells, kind) => {
      const line = table.insertRow();
      for (const cell of cells) line.appendChild(Object.assign(document.createElement(kind), { textContent: cell }));
    };
    row(["round", ...names], "th");
    const columns = names.map((name) => series(process, name));
    process.rounds.forEach((round, index) => row([round, ...columns.map((column) => column[index])], "td"));
    details.querySelector(".scroll").replaceChildren(table);
  };
  for (const details of document.querySelectorAll("details[data-process]")) {
    details.addEventListener("toggle", () => tabulate(details), { once: true });
  }

  for (const filter of document.querySelectorAll("select[data-filter]")) {
    filter.addEventListener("change", () => {
      for (const row of document.getElementById(filter.dataset.filter).tBodies[0].rows) {
        row.hidden = filter.value !== "" && row.dataset.class !== filter.value;
      }
    });
  }

  drawAll();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
  let waiting;
  addEventListener("resize", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => made.forEach(({ chart, host }) => chart.setSize({ width: host.clientWidth, height: chart.height })), 100);
  });
})();
