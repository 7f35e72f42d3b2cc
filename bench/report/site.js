(() => {
  'use strict';
  // The score of all rounds over time: a point for each, a step line of the best so far.
  const plot = document.querySelector('#day .plot');
  const rows = [...document.querySelectorAll('#rounds tr[data-at]')].sort((a, b) => a.dataset.at - b.dataset.at);
  if (!plot || rows.length < 2) return;
  const make = (name, attributes, text) => {
    const e = document.createElementNS('http://www.w3.org/2000/svg', name);
    for (const [key, value] of Object.entries(attributes)) e.setAttribute(key, value);
    if (text !== undefined) e.textContent = text;
    return e;
  };
  const first = Number(rows[0].dataset.at), last = Number(rows[rows.length - 1].dataset.at);
  const top = 1.08 * Math.max(1, ...rows.map((r) => Number(r.dataset.score)));
  const x = (at) => 11 + (86 * (at - first)) / Math.max(1, last - first);
  const y = (score) => 94 - (88 * Math.max(0, score)) / top;
  const short = (n) => (n >= 1e6 ? (n / 1e6).toPrecision(3) + ' M' : n >= 1e4 ? Math.round(n / 1e3) + ' k' : String(Math.round(n)));
  const rough = top / 5, power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((n) => n * power >= rough);
  for (let score = step; score < top; score += step) {
    plot.append(make('line', { class: 'grid', x1: 0, x2: '100%', y1: y(score) + '%', y2: y(score) + '%' }),
      make('text', { class: 'tick', x: 4, y: y(score) + '%', dy: -3 }, short(score)));
  }
  const clock = (at) => new Date(at).toISOString().slice(11, 16);
  for (const part of [0, 0.25, 0.5, 0.75, 1]) {
    const at = first + part * (last - first);
    plot.append(make('text', { class: 'tick', x: x(at) + '%', y: '100%', dy: 14, 'text-anchor': part === 0 ? 'start' : part === 1 ? 'end' : 'middle' }, clock(at)));
  }
  let best = null;
  for (const row of rows) {
    if (row.dataset.passed !== 'true') continue;
    const at = Number(row.dataset.at), score = Number(row.dataset.score);
    if (best) {
      plot.append(make('line', { class: 'best', x1: x(best.at) + '%', x2: x(at) + '%', y1: y(best.score) + '%', y2: y(best.score) + '%' }));
      if (score > best.score) plot.append(make('line', { class: 'best', x1: x(at) + '%', x2: x(at) + '%', y1: y(best.score) + '%', y2: y(score) + '%' }));
    }
    best = { at, score: Math.max(score, best ? best.score : 0) };
  }
  const tell = document.getElementById('day-text');
  for (const row of rows) {
    const passed = row.dataset.passed === 'true', cx = x(Number(row.dataset.at)) + '%', cy = y(Number(row.dataset.score)) + '%';
    const why = [...row.querySelectorAll('.why > p:not(.quiet)')].map((p) => p.textContent.trim());
    const text = [clock(Number(row.dataset.at)), passed ? '' : 'FAILED', row.cells[3].textContent.trim(), ...why].filter(Boolean).join(' · ');
    const link = make('a', { href: 'rounds/' + encodeURIComponent(row.dataset.id) + '/report.html', 'aria-label': text, class: passed ? 'point' : 'point failed' });
    link.append(make('circle', { class: 'area-of', cx, cy, r: 11 }), passed ? make('circle', { cx, cy, r: row.classList.contains('best') ? 6 : 4 }) : make('text', { x: cx, y: cy, 'text-anchor': 'middle', dy: 5 }, '✕'));
    tell.textContent = text; // that of the last round, until another is pointed at
    for (const event of ['pointerenter', 'focus']) link.addEventListener(event, () => { tell.textContent = text; });
    plot.append(link);
  }
})();
(() => {
  'use strict';
  // While a round runs, what it does is asked for once a second.
  const section = document.getElementById('live');
  if (!section) return;
  let running = false;
  const show = (state) => {
    section.hidden = false;
    document.getElementById('live-what').textContent =
      `${state.project}: ${state.phase}, ${Math.max(0, Math.round((Date.now() - Date.parse(state.phase_began)) / 1000))} s`;
    const busy = document.getElementById('live-busy');
    busy.replaceChildren(...Object.entries(state.busy_by_host).sort().map(([host, ratio]) => {
      const entry = document.createElement('div');
      const name = document.createElement('dt');
      const value = document.createElement('dd');
      name.textContent = 'CPU of ' + host;
      value.textContent = Math.round(100 * ratio) + ' %';
      entry.append(name, value);
      return entry;
    }));
    document.getElementById('live-lines').textContent = state.lines.join('\n');
  };
  const ask = async () => {
    try {
      const answer = await fetch('live');
      if (answer.status === 200) {
        running = true;
        show(await answer.json());
      } else if (running) {
        location.reload();
      }
    } catch {
      section.hidden = true;
    }
    setTimeout(ask, 1000);
  };
  ask();
})();
