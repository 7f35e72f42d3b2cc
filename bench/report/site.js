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
