(() => {
  'use strict';
  const root = document.documentElement;

  // The theme follows the system until the reader chooses.
  const theme = document.getElementById('theme');
  const themes = ['auto', 'light', 'dark'];
  theme.hidden = false;
  theme.addEventListener('click', () => {
    root.dataset.theme = themes[(themes.indexOf(root.dataset.theme) + 1) % themes.length];
    theme.textContent = 'theme: ' + root.dataset.theme;
  });

  // One second is chosen for all charts: with the pointer on any of them, or with the slider.
  const data = JSON.parse(document.getElementById('seconds').textContent);
  const slider = document.getElementById('at');
  const readout = document.getElementById('readout');
  if (slider && data.rows) {
    const values = data.labels.map((label) => {
      const entry = document.createElement('div');
      const name = document.createElement('dt');
      const value = document.createElement('dd');
      name.textContent = label;
      name.title = label;
      entry.append(name, value);
      readout.append(entry);
      return value;
    });
    const plots = [...document.querySelectorAll('.plot')];
    const show = (i) => {
      const row = data.rows[i];
      row.forEach((text, k) => { values[k].textContent = text; });
      const x = (100 * (i + 0.5)) / data.rows.length + '%';
      for (const plot of plots) {
        const cursor = plot.querySelector('.cursor');
        cursor.setAttribute('visibility', 'visible');
        cursor.setAttribute('x1', x);
        cursor.setAttribute('x2', x);
      }
      slider.value = i;
      slider.setAttribute('aria-valuetext', data.labels.map((label, k) => label + ' ' + row[k]).join(', '));
    };
    const point = (event) => {
      const box = event.currentTarget.getBoundingClientRect();
      const i = Math.floor((data.rows.length * (event.clientX - box.left)) / box.width);
      show(Math.max(0, Math.min(data.rows.length - 1, i)));
    };
    for (const plot of plots) {
      plot.addEventListener('pointermove', point);
      plot.addEventListener('pointerdown', point);
      plot.addEventListener('click', () => slider.focus({ preventScroll: true }));
    }
    slider.addEventListener('input', () => show(Number(slider.value)));
    show(0);
  }

  // A click on a column's title sorts by it: numbers from the highest, names from A.
  for (const table of document.querySelectorAll('table.sortable')) {
    const heads = [...table.tHead.rows[0].cells];
    const body = table.tBodies[0];
    if (body.rows.length > 8) {
      const filter = document.createElement('input');
      filter.type = 'search';
      filter.className = 'filter';
      filter.placeholder = 'filter';
      filter.setAttribute('aria-label', 'show only rows with this text');
      filter.addEventListener('input', () => {
        const words = filter.value.toLowerCase().split(/\s+/);
        for (const row of body.rows) {
          const text = row.textContent.toLowerCase();
          row.hidden = !words.every((word) => text.includes(word));
        }
      });
      table.parentElement.before(filter);
    }
    heads.forEach((head, k) => {
      if (!head.textContent.trim() || body.rows[0]?.cells[k]?.querySelector('input[type=radio]')) return;
      const button = document.createElement('button');
      button.type = 'button';
      button.textContent = head.textContent;
      head.replaceChildren(button);
      button.addEventListener('click', () => {
        const numeric = head.classList.contains('n');
        const before = head.getAttribute('aria-sort');
        const order = before ? (before === 'ascending' ? 'descending' : 'ascending') : (numeric ? 'descending' : 'ascending');
        const sign = order === 'ascending' ? 1 : -1;
        const value = (row) => (numeric ? Number(row.cells[k].dataset.v) : row.cells[k].textContent);
        const rows = [...body.rows].sort((a, b) => {
          const x = value(a), y = value(b);
          return sign * (x < y ? -1 : x > y ? 1 : 0);
        });
        heads.forEach((h) => h.removeAttribute('aria-sort'));
        head.setAttribute('aria-sort', order);
        body.append(...rows);
      });
    });
  }

  // A box of a flame graph becomes as wide as the graph when it is chosen; what is not above or below it goes away.
  for (const section of document.querySelectorAll('.flames')) {
    const boxes = [...section.querySelectorAll('.box')];
    const hover = section.querySelector('.hover');
    const zoom = (chosen) => {
      const from = Number(chosen.dataset.from), part = Number(chosen.dataset.part), depth = Number(chosen.dataset.depth);
      for (const box of boxes) {
        const f = Number(box.dataset.from), p = Number(box.dataset.part);
        const below = Number(box.dataset.depth) < depth;
        const inside = below ? f <= from + 1e-9 && f + p >= from + part - 1e-9 : f >= from - 1e-9 && f + p <= from + part + 1e-9;
        box.style.display = inside ? '' : 'none';
        box.setAttribute('x', (below ? 0 : (100 * (f - from)) / part) + '%');
        box.setAttribute('width', (below ? 100 : (100 * p) / part) + '%');
      }
    };
    for (const box of boxes) {
      box.addEventListener('click', () => zoom(box));
      box.addEventListener('keydown', (event) => {
        if (event.key === 'Enter' || event.key === ' ') {
          event.preventDefault();
          zoom(box);
        }
      });
      const tell = () => { hover.textContent = box.dataset.text; };
      box.addEventListener('pointerenter', tell);
      box.addEventListener('focus', tell);
    }
  }

  // A route names the queries that say that they come from it, and its part of a flame graph; its own names of parts of a path may differ from the app's.
  const plain = (route) => route.trim().replace(/[:{@]+[^/}\s]*}?/g, '{}');
  const same = (told, route) => told === route || told === route.replace(/^[A-Z]+ /, '');
  const boxes = [...document.querySelectorAll('.box[data-route]')];
  const from = [...document.querySelectorAll('#queries details')].map((d) => [d, [...d.querySelectorAll('.from')].map((e) => plain(e.dataset.route))]);
  for (const row of document.querySelectorAll('#routes tbody tr')) {
    const route = plain(row.cells[0].firstChild.textContent);
    const box = boxes.find((b) => same(plain(b.dataset.route), route));
    if (box) {
      const link = document.createElement('a');
      link.className = 'quiet';
      link.href = '#' + box.closest('section').id;
      link.textContent = 'flame graph';
      link.addEventListener('click', () => box.dispatchEvent(new Event('click')));
      row.cells[0].append(link);
    }
    const found = from.filter(([, routes]) => routes.some((r) => same(r, route)));
    if (found.length === 0) continue;
    const list = document.createElement('p');
    list.className = 'quiet';
    list.textContent = 'queries: ';
    found.slice(0, 12).forEach(([d], i) => {
      const link = document.createElement('a');
      link.href = '#' + d.id;
      link.textContent = String(Number(d.id.slice(1)) + 1);
      link.title = d.querySelector('summary').textContent;
      list.append(i ? ', ' : '', link);
    });
    row.cells[0].append(list);
  }

  // A profile is a file that go tool pprof reads.
  for (const link of document.querySelectorAll('#artifacts a[href$=".pprof"]')) {
    const code = document.createElement('code');
    code.textContent = 'go tool pprof -http=: ' + decodeURIComponent(link.getAttribute('href'));
    link.parentElement.append(' ', code);
  }

  // A link to a query opens it.
  for (const link of document.querySelectorAll('#queries td a, #routes td a')) {
    link.addEventListener('click', () => { document.getElementById(link.hash.slice(1)).open = true; });
  }
})();
