"use strict";
// Draws what can be asked: it fills the empty elements that each section has, and hides the figures they replace.
// It reads its numbers from the page and loads nothing. Text goes in as text, never as markup.
(() => {
  const DATA = JSON.parse(document.getElementById("data").textContent);
  const [ROWS, COLUMNS] = DATA.grid;
  const PATCHES = ROWS * COLUMNS;
  const PHOTO = document.getElementById("photo").src;
  const TABLES = Object.fromEntries(Object.entries(DATA.tables).map(([name, digits]) => [name, digits.match(/../g).map((two) => parseInt(two, 16))]));

  // ---- small tools ----

  function fill(element, attributes, children) {
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
      else if (value !== null && value !== undefined) element.setAttribute(name, value);
    }
    element.append(...children);
    return element;
  }
  const make = (tag, attributes = {}, ...children) => fill(document.createElement(tag), attributes, children);
  const draw = (tag, attributes = {}, ...children) => fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
  const titled = (element, words) => { element.append(draw("title", {}, words)); return element; };
  const range = (count) => Array.from({ length: count }, (_, place) => place);
  const number = (value) => value === null || Number.isNaN(value) ? "not defined" : String(Number(value.toPrecision(3))).replace("-", "\u2212");
  const percent = (share) => (share > 0 && share < 0.001 ? "less than 0.1 %" : `${(100 * share).toFixed(1)} %`);
  const wrapped = (text, most) => text.split(" ").reduce((lines, word) => { // lines of at most so many letters
    const last = lines.length - 1;
    return last >= 0 && lines[last].length + 1 + word.length <= most ? [...lines.slice(0, last), `${lines[last]} ${word}`] : [...lines, word];
  }, []);
  const blockName = (block) => `block ${DATA.first + block}`;
  const headName = (block, head) => `${blockName(block)} head ${head}`;
  const patchName = (patch) => `row ${Math.floor(patch / COLUMNS)}, column ${patch % COLUMNS}`;

  function halves(packed) { // half-precision numbers, as browsers do not all know them
    const bytes = Uint8Array.from(atob(packed.half), (letter) => letter.charCodeAt(0));
    const view = new DataView(bytes.buffer);
    const values = new Float32Array(bytes.length / 2);
    for (let place = 0; place < values.length; place++) {
      const bits = view.getUint16(2 * place, true);
      const power = (bits >> 10) & 31, rest = bits & 1023;
      const size = power === 31 ? (rest ? NaN : Infinity) : power ? (1 + rest / 1024) * 2 ** (power - 15) : rest * 2 ** -24;
      values[place] = bits & 32768 ? -size : size;
    }
    return values;
  }

  function colour(value, scale) { // the same table and rounding as in the figures: one value, one colour
    const table = TABLES[scale.colours], last = table.length / 3 - 1;
    const place = Math.round(Math.min(1, Math.max(0, (value - scale.low) / (scale.high - scale.low))) * last);
    return table.slice(3 * place, 3 * place + 3);
  }
  function inkOn(rgb) { // black or white, whichever has the higher contrast
    const [r, g, b] = rgb.map((each) => (each / 255 <= 0.04045 ? each / 255 / 12.92 : ((each / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.179 ? "#000" : "#fff";
  }
  function paint(canvas, values, scale, rows = ROWS, columns = COLUMNS) { // one pixel for each value; the style enlarges it
    canvas.width = columns; canvas.height = rows;
    const context = canvas.getContext("2d"), pixels = context.createImageData(columns, rows);
    for (let place = 0; place < rows * columns; place++) {
      if (values[place] === null || Number.isNaN(values[place])) continue;
      pixels.data.set([...colour(values[place], scale), 255], 4 * place);
    }
    context.putImageData(pixels, 0, 0);
    return canvas;
  }
  function legend(scale) {
    const ramp = range(256).map((place) => scale.low + ((scale.high - scale.low) * place) / 255);
    const middle = (scale.low + scale.high) / 2;
    return make("div", { class: "legend bar" },
      fill(paint(document.createElement("canvas"), ramp, scale, 1, 256), { "aria-hidden": "true" }, []),
      make("span", {}, make("span", {}, number(scale.low)), make("span", {}, number(middle)), make("span", {}, (scale.beyond ? "\u2265 " : "") + number(scale.high))),
      make("div", {}, scale.unit + (scale.said ? `. ${scale.said}` : "")));
  }
  function choice(words, options, changed) { // a labelled list to choose from
    const list = make("select", { onchange: () => changed(list.value) }, ...options.map(([value, name]) => make("option", { value }, name)));
    return [make("label", {}, words, list), list];
  }
  function slider(words, least, most, value, changed, said = String) { // a labelled slider that says its value
    const output = make("output", {}, said(value));
    const input = make("input", { type: "range", min: least, max: most, value, oninput: () => {
      output.textContent = said(Number(input.value)); input.setAttribute("aria-valuetext", output.textContent); changed(Number(input.value));
    } });
    input.setAttribute("aria-valuetext", said(value));
    return [make("label", {}, words, input, output), input];
  }
  const frame = (label, ...children) => make("div", { class: "frame", role: "region", "aria-label": label, tabindex: "0" }, ...children);
  function simpleTable(caption, heads, rows) {
    return make("table", {}, make("caption", {}, caption),
      make("thead", {}, make("tr", {}, ...heads.map((head) => make("th", { scope: "col" }, head)))),
      make("tbody", {}, ...rows.map(([name, ...cells]) => make("tr", {}, make("th", { scope: "row" }, name), ...cells.map((cell) => make("td", {}, cell))))));
  }
  function strongest(values, count) {
    return range(values.length).filter((place) => values[place] > 0).sort((a, b) => values[b] - values[a]).slice(0, count);
  }
  function arrows(event, columns) { // how far an arrow key goes in a grid, or null for other keys
    return { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns }[event.key] ?? null;
  }

  // ---- the head that is chosen, shared by all sections ----

  const chosen = { block: 0, head: 0, watchers: [] };
  function choose(block, head) {
    chosen.block = block; chosen.head = head;
    for (const watcher of chosen.watchers) watcher(block, head);
  }

  // ---- sections ----

  const WIDGETS = {
    heads(place) { // small maps that can be ordered and filtered; the chosen one is shown large
      const values = halves(DATA.readings), scale = DATA.readings.scale;
      const map = (block, head) => values.subarray((block * DATA.heads + head) * PATCHES, (block * DATA.heads + head + 1) * PATCHES);
      const list = make("div", { class: "heads", role: "listbox", "aria-label": "Heads, b for block and h for head: arrow keys move, and the chosen head is shown large" });
      const detail = make("div", { "aria-live": "polite", class: "wide" }), canvas = make("canvas", { "aria-hidden": "true" });
      const over = make("div", { class: "over" }, make("img", { src: PHOTO, alt: "" }), canvas), shown = make("p", { class: "small" });
      let order = "", wanted = "", tiles = [];
      const by = () => DATA.numbers[Number(order.slice(1))];

      function arrange() {
        const keep = document.activeElement && list.contains(document.activeElement);
        let heads = range(DATA.blocks).flatMap((block) => range(DATA.heads).map((head) => [block, head]));
        if (wanted !== "") heads = heads.filter(([block]) => block === Number(wanted));
        if (order !== "") {
          const sign = order[0] === "-" ? -1 : 1, column = by().values;
          heads.sort(([a, b], [c, d]) => column[a][b] === null ? 1 : column[c][d] === null ? -1 : sign * (column[c][d] - column[a][b]));
        }
        tiles = heads.map(([block, head]) => {
          const told = order === "" ? "" : `${by().name} ${number(by().values[block][head])}`;
          const tile = make("div", { role: "option", tabindex: "-1", "aria-selected": "false", onclick: () => choose(block, head) },
            paint(document.createElement("canvas"), map(block, head), scale), `b${DATA.first + block} h${head}`, ...(told ? [make("br"), told] : []));
          tile.place = [block, head];
          return tile;
        });
        list.replaceChildren(...tiles);
        mark(chosen.block, chosen.head);
        if (keep) list.querySelector("[tabindex='0']").focus();
      }
      function mark(block, head) {
        for (const tile of tiles) { tile.setAttribute("aria-selected", String(tile.place[0] === block && tile.place[1] === head)); tile.tabIndex = -1; }
        const current = tiles.find((tile) => tile.ariaSelected === "true" || tile.getAttribute("aria-selected") === "true") || tiles[0];
        if (current) current.tabIndex = 0;
      }
      function show(block, head) {
        mark(block, head);
        const each = map(block, head), best = strongest(each, 5);
        paint(canvas, each, scale);
        detail.replaceChildren(make("h3", {}, headName(block, head)),
          simpleTable("Its numbers", ["Number", "Value", "Unit"], DATA.numbers.map((one) => [one.name, number(one.values[block][head]), one.unit])),
          make("p", { class: "small" }, "Largest patches: " + best.map((patch) => `${patchName(patch)}: ${percent(each[patch])}`).join("; ") + "."));
      }
      list.addEventListener("keydown", (event) => {
        const columns = Math.max(1, tiles.filter((tile) => tile.offsetTop === tiles[0].offsetTop).length);
        const at = tiles.indexOf(document.activeElement), step = arrows(event, columns);
        const next = event.key === "Home" ? 0 : event.key === "End" ? tiles.length - 1 : step === null ? null : at + step;
        if (next === null || at < 0) return;
        event.preventDefault();
        if (tiles[next]) { choose(...tiles[next].place); tiles[next].focus(); }
      });
      over.addEventListener("pointermove", (event) => {
        const box = over.getBoundingClientRect();
        const row = Math.floor(((event.clientY - box.top) / box.height) * ROWS), column = Math.floor(((event.clientX - box.left) / box.width) * COLUMNS);
        if (row >= 0 && row < ROWS && column >= 0 && column < COLUMNS) shown.textContent = `${patchName(row * COLUMNS + column)}: ${number(map(chosen.block, chosen.head)[row * COLUMNS + column])} (${scale.unit})`;
      });
      const orders = DATA.numbers.flatMap((one, which) => [[`+${which}`, `${one.name}, largest first`], [`-${which}`, `${one.name}, smallest first`]]);
      const [ordered] = choice("Order by", [["", "block and head"], ...orders], (value) => { order = value; arrange(); });
      const [filtered] = choice("Show", [["", "all blocks"], ...range(DATA.blocks).map((block) => [String(block), blockName(block)])], (value) => { wanted = value; arrange(); });
      const [opacity] = slider("Opacity of the large map", 0, 100, 75, (value) => { canvas.style.opacity = value / 100; }, (value) => `${value} %`);
      canvas.style.opacity = 0.75;
      place.append(make("div", { class: "controls" }, ordered, filtered), legend(scale), list,
        make("div", { class: "two" }, make("div", {}, over, shown, make("div", { class: "controls" }, opacity)), detail));
      arrange();
      chosen.watchers.push(show);
    },

    numbers(place) { // one table of coloured cells at a time; the chosen head is framed
      const holder = make("div");
      let cells = [];
      function show(which) {
        const one = DATA.numbers[which];
        cells = range(DATA.heads).map((head) => range(DATA.blocks).map((block) => {
          const value = one.values[block][head], cell = make("td", {}, value === null ? "\u2013" : String(Number(value.toPrecision(2))).replace("-", "\u2212"));
          if (value !== null) { const rgb = colour(value, one.scale); cell.style.background = `rgb(${rgb})`; cell.style.color = inkOn(rgb); }
          cell.addEventListener("click", () => choose(block, head));
          return cell;
        }));
        const table = make("table", { class: "cells" }, make("caption", {}, `${one.name}: ${one.meaning}`),
          make("thead", {}, make("tr", {}, make("th", { scope: "col" }, "Head"), ...range(DATA.blocks).map((block) => make("th", { scope: "col" }, `b${DATA.first + block}`)))),
          make("tbody", {}, ...cells.map((row, head) => make("tr", {}, make("th", { scope: "row" }, `head ${head}`), ...row))));
        holder.replaceChildren(frame("Table of the chosen number", table), legend(one.scale));
        mark(chosen.block, chosen.head);
      }
      function mark(block, head) {
        for (const [row, line] of cells.entries()) for (const [column, cell] of line.entries()) cell.classList.toggle("now", row === head && column === block);
      }
      const [label] = choice("Number", DATA.numbers.map((one, which) => [String(which), one.name]), (value) => show(Number(value)));
      place.append(make("div", { class: "controls" }, label), holder, make("p", { class: "small" }, "The frame marks the head that is chosen above."));
      show(0);
      chosen.watchers.push(mark);
    },

    parallel(place) { // one line for each head; pointing at a line or choosing from the list brings it to the front
      const wide = 1000, high = 380, top = 40, low = 260, step = (wide - 140) / Math.max(1, DATA.numbers.length - 1);
      const picture = draw("svg", { viewBox: `0 0 ${wide} ${high}`, class: "drawing", role: "img", "aria-label": "One line for each head across its numbers; the values of the chosen head stand below" });
      const ends = DATA.numbers.map((one) => {
        const found = one.values.flat().filter((value) => value !== null), least = Math.min(...found), most = Math.max(...found);
        return found.length ? [least, most > least ? most : least + 1] : [0, 1];
      });
      const x = (axis) => 70 + axis * step;
      const lines = range(DATA.blocks).flatMap((block) => range(DATA.heads).map((head) => {
        let path = "", gap = true;
        DATA.numbers.forEach((one, axis) => {
          const value = one.values[block][head];
          if (value === null) { gap = true; return; }
          path += `${gap ? "M" : "L"}${x(axis)} ${low - ((low - top) * (value - ends[axis][0])) / (ends[axis][1] - ends[axis][0])}`;
          gap = false;
        });
        const line = titled(draw("path", { d: path || "M0 0", class: "line", onpointerenter: () => choose(block, head) }), headName(block, head));
        line.place = [block, head];
        return line;
      }));
      const lineOf = new Map(lines.map((line) => [String(line.place), line]));
      picture.append(...lines);
      DATA.numbers.forEach((one, axis) => picture.append(
        draw("line", { x1: x(axis), x2: x(axis), y1: top, y2: low, class: "axis" }),
        draw("text", { x: x(axis), y: top - 8, "text-anchor": "middle" }, number(ends[axis][1])),
        draw("text", { x: x(axis), y: low + 18, "text-anchor": "middle" }, number(ends[axis][0])),
        ...[...wrapped(one.name, 13), ...wrapped(`(${one.unit})`, 13)].slice(0, 5).map((words, line) =>
          draw("text", { x: x(axis), y: low + 38 + 16 * line, "text-anchor": "middle", class: "narrow" }, words))));
      const said = make("p", { "aria-live": "polite", class: "small" });
      const heads = range(DATA.blocks).flatMap((block) => range(DATA.heads).map((head) => [`${block},${head}`, headName(block, head)]));
      const [label, list] = choice("Bring to the front", heads, (value) => choose(...value.split(",").map(Number)));
      function show(block, head) {
        for (const line of lines) line.classList.remove("on");
        const line = lineOf.get(String([block, head]));
        line.classList.add("on");
        picture.insertBefore(line, picture.querySelector("line"));
        list.value = `${block},${head}`;
        said.textContent = `${headName(block, head)}: ${DATA.numbers.map((one) => `${one.name} ${number(one.values[block][head])} ${one.unit}`).join("; ")}.`;
      }
      place.append(make("div", { class: "controls" }, label), frame("Drawing of heads across their numbers", picture), said);
      chosen.watchers.push(show);
    },

    flow(place) { // slanted grids with ribbons; how many are drawn, and which blocks, can be chosen
      const flows = DATA.flows, tokens = flows.tokens.length, [rows, columns] = flows.grid;
      const high = 190, squeeze = 52, lean = 30, step = 104, left = 96, top = 34 + 26 * tokens;
      const most = Math.max(...flows.steps.map((block) => block.filter(([from, to]) => from !== to).length));
      const picture = draw("svg", { class: "drawing", role: "img" }), said = make("p", { class: "small", "aria-live": "polite" });
      const state = { moves: Math.min(40, most), from: 0, to: DATA.blocks - 1 };
      function spot(node) {
        if (node < tokens) return [squeeze / 2, top - 22 - 24 * (tokens - 1 - node)];
        const along = (((node - tokens) % columns) + 0.5) / columns, down = (Math.floor((node - tokens) / columns) + 0.5) / rows;
        return [squeeze * along, top + high * down + lean * along];
      }
      function render() {
        const count = state.to - state.from + 1, base = top + high + lean, wide = left + step * count + squeeze + 30;
        picture.setAttribute("viewBox", `0 0 ${wide} ${base + 62}`);
        picture.style.maxWidth = `${Math.round(1.3 * wide)}px`;
        picture.style.minWidth = `${Math.max(320, Math.min(wide, 80 * count + 200))}px`;
        const parts = [], shares = [];
        if (!state.from) { // the photograph, leaning as the grid does
          parts.push(draw("image", { href: PHOTO, width: squeeze, height: high, preserveAspectRatio: "none", opacity: 0.5, transform: `translate(${left} ${top}) matrix(1 ${lean / squeeze} 0 1 0 0)` }));
        }
        for (const level of range(count + 1)) {
          const at = left + step * level;
          parts.push(draw("path", { d: `M${at} ${top}l${squeeze} ${lean}v${high}l${-squeeze} ${-lean}z`, class: "faint" }));
        }
        for (let block = state.from; block <= state.to; block++) {
          let moves = 0, share = 0;
          for (const [source, target, mass] of flows.steps[block]) {
            const stays = source === target;
            if (!stays && ++moves > state.moves) continue;
            share += mass;
            const at = left + step * (block - state.from), [ax, ay] = spot(target), [bx, by] = spot(source), middle = at + (ax + bx + step) / 2;
            parts.push(titled(draw("path", { d: `M${at + ax} ${ay}C${middle} ${ay} ${middle} ${by} ${at + step + bx} ${by}`, class: stays ? "stay" : "move", "stroke-width": Math.max(0.4, 30 * mass) }),
              `${blockName(block)}: ${flows.names[source]} ${stays ? "keeps" : `to ${flows.names[target]}`} ${percent(mass)}`));
          }
          shares.push(share);
          const middle = left + step * (block - state.from + 0.5) + squeeze / 2;
          parts.push(draw("text", { x: middle, y: base + 34, "text-anchor": "middle" }, blockName(block)), draw("text", { x: middle, y: base + 50, "text-anchor": "middle" }, `${Math.round(100 * share)} % drawn`));
        }
        for (const level of range(count + 1)) {
          const masses = flows.mass[state.from + level];
          masses.forEach((mass, node) => {
            const [x, y] = spot(node);
            parts.push(titled(draw("circle", { cx: left + step * level + x, cy: y, r: Math.max(0.5, 14 * Math.sqrt(mass)), class: "dot" }), `${flows.names[node]}: ${percent(mass)}`));
          });
        }
        range(tokens).forEach((node) => parts.push(draw("text", { x: left + squeeze / 2 - 22, y: spot(node)[1] + 4, "text-anchor": "end" }, flows.tokens[node].slice(0, 14))));
        const first = DATA.first + state.from, end = state.to === DATA.blocks - 1 ? flows.reads : `after ${blockName(state.to)}`;
        parts.push(draw("text", { x: left + squeeze / 2, y: base + 16, "text-anchor": "middle" }, first ? `after block ${first - 1}` : "input"),
          draw("text", { x: left + step * count + squeeze / 2, y: base + 16, "text-anchor": "middle" }, end.slice(0, 22)));
        picture.replaceChildren(...parts);
        const mean = shares.reduce((sum, share) => sum + share, 0) / shares.length;
        said.textContent = `Drawn: all that stays where it is (grey, dashed) and the ${state.moves} strongest moves of each block (solid), ${percent(mean)} of the mass on average. A ribbon's width is its share of all mass; thin ones are drawn as hairlines.${flows.cell > 1 ? ` A dot is a square of ${flows.cell} x ${flows.cell} patches.` : ""} Point at a ribbon or a dot for its share.`;
        picture.setAttribute("aria-label", said.textContent);
      }
      const blocks = range(DATA.blocks).map((block) => [String(block), blockName(block)]);
      const [count] = slider("Moves drawn for each block", 0, most, state.moves, (value) => { state.moves = value; render(); });
      const [from, fromList] = choice("From", blocks, (value) => { state.from = Number(value); state.to = Math.max(state.to, state.from); toList.value = state.to; render(); });
      const [to, toList] = choice("to", blocks, (value) => { state.to = Number(value); state.from = Math.min(state.to, state.from); fromList.value = state.from; render(); });
      toList.value = String(state.to);
      place.append(make("div", { class: "controls" }, count, from, to), frame("Drawing of the flow of attention", picture), said);
      render();
    },

    trajectory(place) { // a slider through the blocks moves the mark on the photograph and on all lines
      const charts = DATA.series.map((series) => lineChart(series)), said = make("p", { "aria-live": "polite", class: "small" });
      const parts = [];
      let overlay = null;
      if (DATA.focus) {
        overlay = draw("svg", { viewBox: `0 0 ${COLUMNS} ${ROWS}`, preserveAspectRatio: "none", role: "img", "aria-label": "Path of the centre of attention over the photograph; the block that is chosen is told below" });
        parts.push(make("div", { class: "over" }, make("img", { src: PHOTO, alt: "" }), overlay));
      }
      function show(block) {
        const words = [];
        if (overlay) {
          const whole = DATA.focus.centre.map(([row, column]) => (row === null ? "" : `${column},${row}`)).filter(Boolean).join(" ");
          const [row, column] = DATA.focus.centre[block], spread = DATA.focus.spread[block];
          const thin = COLUMNS / 150;
          overlay.replaceChildren(draw("polyline", { points: whole, fill: "none", stroke: "#fff", "stroke-width": 3 * thin }), draw("polyline", { points: whole, fill: "none", stroke: "#000", "stroke-width": thin }));
          if (row !== null) {
            for (const [stroke, width] of [["#fff", 4], ["#000", 2]]) overlay.append(draw("circle", { cx: column, cy: row, r: spread, fill: "none", stroke, "stroke-width": width * thin }));
            overlay.append(draw("circle", { cx: column, cy: row, r: COLUMNS / 40, fill: "#ffd54a", stroke: "#000", "stroke-width": thin }));
            words.push(`centre ${number(row)} patches from the top and ${number(column)} from the left`, `spread ${number(spread)} patches`);
          }
        }
        for (const chart of charts) chart.mark(block);
        words.push(...DATA.series.map((series) => seriesWords(series, block)));
        said.textContent = `${blockName(block)}: ${words.join("; ")}.`;
      }
      const [label] = slider("Block", 0, DATA.blocks - 1, DATA.blocks - 1, show, blockName);
      place.append(make("div", { class: "controls" }, label), said, make("div", { class: "two" }, ...parts, ...charts.map((chart) => chart.element)));
      show(DATA.blocks - 1);
    },

    agreement(place) {
      const charts = DATA.agreement.map((series) => lineChart(series)), said = make("p", { "aria-live": "polite", class: "small" });
      const show = (block) => {
        for (const chart of charts) chart.mark(block);
        said.textContent = `${blockName(block)}: ${DATA.agreement.map((series) => seriesWords(series, block)).join("; ")}.`;
      };
      const [label] = slider("Block", 0, DATA.blocks - 1, DATA.blocks - 1, show, blockName);
      place.append(make("div", { class: "controls" }, label), said, make("div", { class: "two" }, ...charts.map((chart) => chart.element)));
      show(DATA.blocks - 1);
    },

    query(place) { // a patch or another token is asked; two photographs and two rows of small maps answer
      const weights = halves(DATA.attention), tokens = DATA.attention.shape[1], prefix = DATA.prefix.length;
      const state = { token: prefix + Math.floor(ROWS / 2) * COLUMNS + Math.floor(COLUMNS / 2), block: DATA.blocks - 1 };
      const others = [...DATA.prefix.map((name, token) => [token, name]), ...DATA.suffix.map((name, after) => [prefix + PATCHES + after, name])];
      const named = (token) => others.find(([place]) => place === token)?.[1] ?? `patch in ${patchName(token - prefix)}`;
      const at = (block, query, key) => weights[(block * tokens + query) * tokens + key];
      const said = make("p", { "aria-live": "polite", class: "small" });
      const ways = [["attends to", "Attends most to"], ["attended by", "Attended to most by"]].map(([words, said], way) => {
        const canvas = make("canvas", { "aria-hidden": "true" }), mark = draw("svg", { viewBox: `0 0 ${COLUMNS} ${ROWS}`, preserveAspectRatio: "none", "aria-hidden": "true" });
        canvas.style.opacity = 0.75;
        const over = make("div", { class: "over picker", tabindex: "0", role: "application", "aria-roledescription": "patch picker", "aria-label": `Photograph with what the token ${words}. Arrow keys move from patch to patch`, onclick: pick, onkeydown: step },
          make("img", { src: PHOTO, alt: "" }), canvas, mark);
        return { words, said, way, canvas, mark, over, legend: make("div"), row: make("div", { class: "row" }), title: make("h3", {}, "") };
      });
      function mapOf(way, block) {
        return Float32Array.from({ length: PATCHES }, (_, patch) => (way ? at(block, prefix + patch, state.token) : at(block, state.token, prefix + patch)));
      }
      function show() {
        const answers = [];
        for (const one of ways) {
          const maps = range(DATA.blocks).map((block) => mapOf(one.way, block));
          const sorted = Float32Array.from(maps.flatMap((map) => [...map])).sort();
          const end = sorted[Math.floor(0.99 * (sorted.length - 1))] || sorted[sorted.length - 1] || 1;
          const unit = one.way ? "share of each patch's attention that goes to the token" : "share of the token's attention";
          const scale = { low: 0, high: end, unit, colours: "viridis", beyond: sorted[sorted.length - 1] > end, said: "From zero to the 99th percentile of all blocks, for this token alone." };
          one.title.textContent = `${named(state.token)}: ${one.words}, ${blockName(state.block)}`;
          paint(one.canvas, maps[state.block], scale);
          const patch = state.token - prefix;
          one.mark.replaceChildren(...(patch >= 0 && patch < PATCHES ? [["#fff", 0.3], ["#000", 0.12]].map(([stroke, width]) =>
            draw("rect", { x: patch % COLUMNS, y: Math.floor(patch / COLUMNS), width: 1, height: 1, fill: "none", stroke, "stroke-width": width })) : []));
          one.legend.replaceChildren(legend(scale));
          one.row.replaceChildren(...maps.map((map, block) => make("figure", block === state.block ? { class: "now" } : {}, paint(fill(document.createElement("canvas"), { "aria-hidden": "true" }, []), map, scale), make("figcaption", {}, `b${DATA.first + block}`))));
          answers.push(`${one.said}: ${strongest(maps[state.block], 3).map((best) => `${patchName(best)} with ${percent(maps[state.block][best])}`).join("; ")}`);
        }
        const rest = others.map(([token, name]) => `${name} ${percent(at(state.block, state.token, token))}`);
        said.textContent = `${named(state.token)}, ${blockName(state.block)}. ${answers.join(". ")}.${rest.length ? ` It gives to other tokens: ${rest.join(", ")}.` : ""}`;
      }
      function pick(event) {
        const box = event.currentTarget.getBoundingClientRect();
        const row = Math.min(ROWS - 1, Math.max(0, Math.floor(((event.clientY - box.top) / box.height) * ROWS)));
        const column = Math.min(COLUMNS - 1, Math.max(0, Math.floor(((event.clientX - box.left) / box.width) * COLUMNS)));
        state.token = prefix + row * COLUMNS + column;
        show();
      }
      function step(event) {
        if (arrows(event, COLUMNS) === null) return;
        event.preventDefault();
        const patch = Math.min(PATCHES - 1, Math.max(0, state.token - prefix));
        const row = Math.floor(patch / COLUMNS) + ({ ArrowDown: 1, ArrowUp: -1 }[event.key] || 0);
        const column = (patch % COLUMNS) + ({ ArrowRight: 1, ArrowLeft: -1 }[event.key] || 0);
        if (row >= 0 && row < ROWS && column >= 0 && column < COLUMNS) { state.token = prefix + row * COLUMNS + column; show(); }
      }
      const buttons = others.map(([token, name]) => make("button", { type: "button", onclick: () => { state.token = token; show(); } }, name));
      const [label] = slider("Block", 0, DATA.blocks - 1, state.block, (value) => { state.block = value; show(); }, blockName);
      place.append(make("div", { class: "controls" }, label, ...buttons), make("p", { class: "small" }, "Click a patch, or move with the arrow keys on a photograph."), said,
        make("div", { class: "two" }, ...ways.map((one) => make("div", { class: "asked" }, one.title, one.over, one.legend))),
        ...ways.flatMap((one) => [make("h3", {}, `All blocks: ${one.words}`), one.row]));
      show();
    },

    relations(place) { // matrix and chord of one block, or of the mean
      const found = DATA.relations, holder = make("div", { class: "two" });
      function show(which) {
        const mass = which < 0 ? found.mean : found.mass[which], name = which < 0 ? "mean over blocks" : blockName(which);
        const table = make("table", { class: "cells" }, make("caption", {}, `Rows attend to columns, ${name}, in ${found.unit}`),
          make("thead", {}, make("tr", {}, make("th", { scope: "col" }, "Object"), ...found.names.map((each) => make("th", { scope: "col" }, each)))),
          make("tbody", {}, ...mass.map((row, source) => make("tr", {}, make("th", { scope: "row" }, found.names[source]), ...row.map((value) => {
            const cell = make("td", {}, value === null ? "\u2013" : number(value));
            if (value !== null) { const rgb = colour(value, found.scale); cell.style.background = `rgb(${rgb})`; cell.style.color = inkOn(rgb); }
            return cell;
          })))));
        holder.replaceChildren(make("div", {}, frame("Relations between objects", table), legend(found.scale)), ...(found.scale.low < 0 ? [] : [chord(mass, found.names, name)]));
      }
      const [label] = slider("Block", -1, DATA.blocks - 1, -1, show, (which) => (which < 0 ? "mean over blocks" : blockName(which)));
      place.append(make("div", { class: "controls" }, label), holder);
      show(-1);
    },
  };

  // ---- drawings that several sections use ----

  function seriesWords(series, block) {
    const around = series.low && series.low[block] !== null ? ` (${number(series.low[block])} to ${number(series.high[block])})` : "";
    return `${series.name} ${number(series.values[block])}${around} ${series.unit}`;
  }

  function lineChart(series) { // a line over the blocks with its band, and a mark that can be moved
    const wide = 380, high = 180, left = 64, right = 12, top = 12, low = 138;
    const all = [...series.values, ...(series.low || []), ...(series.high || [])].filter((value) => value !== null);
    const least = Math.min(...all), most = Math.max(...all), span = most > least ? most - least : 1;
    const x = (block) => left + ((wide - left - right) * block) / Math.max(1, DATA.blocks - 1), y = (value) => low - ((low - top) * (value - least)) / span;
    const there = range(DATA.blocks).filter((block) => series.values[block] !== null);
    const element = draw("svg", { viewBox: `0 0 ${wide} ${high}`, class: "chart", role: "img", "aria-label": `${series.name} in ${series.unit} by block, from ${number(least)} to ${number(most)}` });
    if (series.low) {
      const sure = there.filter((block) => series.low[block] !== null && series.high[block] !== null);
      const band = [...sure.map((block) => `${x(block)},${y(series.high[block])}`), ...sure.reverse().map((block) => `${x(block)},${y(series.low[block])}`)];
      element.append(draw("polygon", { points: band.join(" "), class: "band" }));
    }
    const dot = draw("circle", { r: 5, class: "dot" });
    element.append(draw("polyline", { points: there.map((block) => `${x(block)},${y(series.values[block])}`).join(" "), class: "line on" }), dot,
      draw("line", { x1: left, x2: wide - right, y1: low + 6, y2: low + 6, class: "axis" }),
      draw("text", { x: left - 6, y: y(most) + 4, "text-anchor": "end" }, number(most)), draw("text", { x: left - 6, y: y(least) + 4, "text-anchor": "end" }, number(least)),
      draw("text", { x: left, y: low + 22, "text-anchor": "middle" }, String(DATA.first)), draw("text", { x: wide - right, y: low + 22, "text-anchor": "end" }, String(DATA.first + DATA.blocks - 1)),
      draw("text", { x: (left + wide) / 2, y: low + 36, "text-anchor": "middle" }, "Block"));
    const said = make("figcaption", {}, `${series.name} (${series.unit})${series.low ? `, band: ${series.interval}` : ""}`);
    return { element: make("figure", { class: "charted" }, said, element), mark(block) {
      const value = series.values[block];
      dot.setAttribute("visibility", value === null ? "hidden" : "visible");
      if (value !== null) { dot.setAttribute("cx", x(block)); dot.setAttribute("cy", y(value)); }
    } };
  }

  function chord(mass, names, which) { // the same layout as in the figure: from the arc that attends, short of the arc attended to
    const colours = ["#0072B2", "#D55E00", "#007A5A", "#9C4A80", "#767676", "#7A5C00"], gap = 0.08, count = names.length;
    const value = (source, target) => (source === target ? 0 : mass[source][target] || 0);
    const total = 2 * range(count).reduce((sum, source) => sum + range(count).reduce((part, target) => part + value(source, target), 0), 0);
    const picture = draw("svg", { viewBox: "-190 -135 380 270", class: "drawing", role: "img", "aria-label": `Chord drawing, ${which}; its numbers are in the table beside it` });
    picture.style.minWidth = "320px"; picture.style.maxWidth = "560px";
    const point = (angle, radius) => `${(100 * radius * Math.sin(angle)).toFixed(2)} ${(-100 * radius * Math.cos(angle)).toFixed(2)}`;
    const arc = (low, high, radius, sweep) => `A${100 * radius} ${100 * radius} 0 ${high - low > Math.PI ? 1 : 0} ${sweep} ${point(sweep ? high : low, radius)}`;
    const factor = (2 * Math.PI - gap * count) / (total || 1), stretch = {};
    let angle = 0;
    for (const place of range(count)) {
      const start = angle;
      for (const other of range(count - 1).map((step) => (place - step - 1 + count) % count)) for (const leaves of [true, false]) {
        const length = factor * (leaves ? value(place, other) : value(other, place));
        stretch[[place, other, leaves]] = [angle, angle + length];
        angle += length;
      }
      if (angle > start) {
        picture.append(draw("path", { d: `M${point(start, 1)}${arc(start, angle, 1, 1)}L${point(angle, 1.06)}${arc(start, angle, 1.06, 0)}z`, fill: colours[place % 6] }));
        const middle = (start + angle) / 2, side = Math.sin(middle);
        const [tx, ty] = point(middle, 1.14).split(" ");
        picture.append(draw("text", { x: tx, y: Number(ty) + 4, "text-anchor": Math.abs(side) < 0.15 ? "middle" : side > 0 ? "start" : "end" }, names[place].slice(0, 14)));
      }
      angle += gap;
    }
    for (const source of range(count)) for (const target of range(count)) {
      if (!value(source, target)) continue;
      const [a, b] = stretch[[source, target, true]], [c, d] = stretch[[target, source, false]];
      picture.append(titled(draw("path", { d: `M${point(a, 0.97)}${arc(a, b, 0.97, 1)}Q0 0 ${point(c, 0.86)}${arc(c, d, 0.86, 1)}Q0 0 ${point(a, 0.97)}z`, fill: colours[source % 6], "fill-opacity": 0.55, stroke: colours[source % 6] }),
        `${names[source]} to ${names[target]}: ${number(value(source, target))}`));
    }
    return make("figure", {}, picture, make("figcaption", {}, "A ribbon begins on the arc of the object that attends and stops short of the one attended to; its width is the mass. What an object gives itself is not drawn."));
  }

  // ---- start ----

  for (const place of document.querySelectorAll("[data-widget]")) {
    try { // a section that cannot be drawn keeps its figure, and says so
      WIDGETS[place.dataset.widget](place);
      place.parentElement.classList.add("js");
    } catch (problem) {
      place.replaceChildren(make("p", {}, `This section could not be drawn so that it can be asked (${problem.message}); its figure is below.`));
    }
    place.hidden = false;
  }
  if (chosen.watchers.length) choose(0, 0);
})();
