"use strict";
// The page /: what the service says of itself as JSON, every two seconds.
(() => {
    const base = new URL(".", location.href).href;
    const PAUSE = 2000; // ms
    const WIDTH = 300;
    const HEIGHT = 100;
    const SVG = "http://www.w3.org/2000/svg";
    const find = (id) => document.getElementById(id);

    function element(name, attributes) {
        const made = document.createElementNS(SVG, name);
        for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
        return made;
    }

    // One line for each series of numbers; null where nothing is known, which leaves a gap.
    function plot(svg, series) {
        const highest = Math.max(...series.flat().filter((value) => value !== null), 0) || 1;
        svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
        svg.setAttribute("preserveAspectRatio", "none");
        const parts = [element("line", { x1: 0, x2: WIDTH, y1: HEIGHT - 1, y2: HEIGHT - 1 })];
        for (const values of series) {
            let path = "";
            let pen = "M";
            values.forEach((value, index) => {
                if (value === null) {
                    pen = "M";
                    return;
                }
                const x = (index / Math.max(1, values.length - 1)) * WIDTH;
                const y = HEIGHT - 2 - (value / highest) * (HEIGHT - 6);
                path += `${pen}${x.toFixed(1)} ${y.toFixed(1)}`;
                if (pen === "M" && (values[index + 1] ?? null) === null) path += "h0.1"; // alone: a dot
                pen = "L";
            });
            parts.push(element("path", { d: path, class: `series-${parts.length}` }));
        }
        svg.replaceChildren(...parts);
        return highest;
    }

    // From when to when a plot goes, and its upper edge.
    function scale(ends, highest, unit) {
        const minutes = Math.max(1, Math.round((ends.at(-1) - ends[0]) / 60));
        return ends.length ? `from ${minutes} min ago until now; the upper edge: ${number(highest)} ${unit}` : "";
    }

    function last(values) {
        return values.filter((value) => value !== null).at(-1);
    }

    function showFigures(recent) {
        find("figures").hidden = !recent;
        if (!recent) return;
        const rate = last(recent.requests_per_second) ?? 0;
        const failures = last(recent.failures_per_second) ?? 0;
        find("rate").textContent = `Requests a second: ${number(rate)}, failures: ${number(failures)}`;
        const known = recent.p50_ms.map((value, index) => [value, recent.p95_ms[index]]).filter(([value]) => value !== null);
        const [half, most] = known.at(-1) ?? [];
        find("latency").textContent = known.length
            ? `Milliseconds that half of them took: ${number(half)}, and 95 %: ${number(most)}`
            : "Milliseconds until the answer: nobody has waited for one";
        const rates = plot(find("rate-plot"), [recent.requests_per_second, recent.failures_per_second]);
        find("rate-scale").textContent = scale(recent.ends, rates, "a second");
        const times = plot(find("latency-plot"), [recent.p50_ms, recent.p95_ms]);
        find("latency-scale").textContent = scale(recent.ends, times, "ms");
    }

    function number(value) {
        return value.toFixed(value < 10 ? 1 : 0);
    }

    function cell(text, state) {
        const made = document.createElement("td");
        made.textContent = text;
        if (state) made.dataset.state = state;
        return made;
    }

    function show(found) {
        const model = found.model_version ? ` Model: ${found.model_version}.` : "";
        find("readiness").textContent = (found.ready ? "Ready." : `Not ready: ${found.reason}.`) + model;
        find("readiness").dataset.ready = found.ready;
        const rows = found.workers.map((worker) => {
            const row = document.createElement("tr");
            row.append(cell(worker.name), cell(worker.state, worker.state), cell(worker.model_version || ""));
            return row;
        });
        find("workers").hidden = !rows.length;
        find("workers").querySelector("tbody").replaceChildren(...rows);
        find("queue").textContent = found.queue === null ? "" : `${found.queue} waiting`;
        showFigures(found.recent);
    }

    async function look() {
        try {
            show(await (await fetch(base, { headers: { Accept: "application/json" } })).json());
        } catch {
            find("readiness").textContent = "The service does not answer.";
            find("readiness").dataset.ready = false;
        }
        setTimeout(look, document.hidden ? 5 * PAUSE : PAUSE);
    }

    look();
})();
