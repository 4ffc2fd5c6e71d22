"use strict";
// The page /docs: Swagger UI for the reference, and above it a form that follows a request to its end.
(() => {
    const base = new URL(".", location.href).href; // ends in a slash, whatever path a proxy has put before
    const FINAL = ["SUCCESS", "FAILURE", "REVOKED"];
    const LONGEST_PAUSE = 1000; // ms between two looks at a task
    const CALLBACK_PATIENCE = 60000; // ms that a callback may take once its task has ended
    const MAX_WAIT = 60; // seconds
    const find = (id) => document.getElementById(id);
    const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
    let run = 0; // the number of the last request: what an older one hears is not shown
    let task = null;

    function followColours() {
        const dark = matchMedia("(prefers-color-scheme: dark)");
        const apply = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
        dark.addEventListener("change", apply);
        apply();
    }

    function pretty(text) {
        try {
            return JSON.stringify(JSON.parse(text), null, 2);
        } catch {
            return text;
        }
    }

    class Run {
        constructor() {
            this.number = ++run;
            this.began = performance.now();
            find("steps").replaceChildren();
            find("result").textContent = "";
            delete find("result").dataset.ended;
            find("cancel").hidden = true;
            task = null;
        }

        get isCurrent() {
            return this.number === run;
        }

        step(name, text) {
            if (!this.isCurrent) return;
            const item = document.createElement("li");
            const state = document.createElement("strong");
            state.textContent = name;
            const seconds = ((performance.now() - this.began) / 1000).toFixed(2);
            item.append(state, ` ${text ? text + ", " : ""}after ${seconds} s`);
            item.dataset.step = name;
            find("steps").append(item);
        }

        show(text) {
            if (this.isCurrent) find("result").textContent = text;
        }

        follow(id) {
            if (!this.isCurrent) return;
            task = id;
            find("cancel").hidden = false;
        }

        end() {
            if (!this.isCurrent) return;
            find("cancel").hidden = true;
            find("result").dataset.ended = String(this.number);
        }
    }

    async function post(current, body, prefer) {
        const headers = { "Content-Type": "application/json", Prefer: prefer };
        const answer = await fetch(base + "predict", { method: "POST", headers, body });
        const text = await answer.text();
        const model = answer.headers.get("Denzel-Model");
        current.step(String(answer.status), [answer.statusText, model && `model ${model}`].filter(Boolean).join(", "));
        current.show(pretty(text));
        const accepted = answer.status === 202 || (answer.ok && answer.headers.has("Location"));
        return accepted ? JSON.parse(text).data.task_id : null;
    }

    async function watch(current, id) {
        current.follow(id);
        let pause = 100;
        let seen = "";
        while (current.isCurrent) {
            const answer = await fetch(`${base}status/${id}`);
            const text = await answer.text();
            current.show(pretty(text));
            if (!answer.ok) {
                current.step(String(answer.status), answer.statusText);
                return;
            }
            const status = JSON.parse(text);
            const detail = status.waiting_for || (status.status === "STARTED" && status.worker) || "";
            if (status.status + detail !== seen) current.step(status.status, detail);
            seen = status.status + detail;
            if (FINAL.includes(status.status)) return;
            await sleep(pause);
            pause = Math.min(LONGEST_PAUSE, pause * 1.3);
        }
    }

    async function fetched(path, options) {
        const answer = await fetch(base + path, options);
        const found = await answer.json();
        if (!answer.ok) throw new Error(found.description);
        return found;
    }

    async function awaitCallback(current, arrivals) {
        const until = performance.now() + CALLBACK_PATIENCE;
        while (current.isCurrent && performance.now() < until) {
            const found = await fetched(arrivals);
            if (found.arrivals.length) {
                const [first] = found.arrivals;
                current.step("CALLBACK", `arrived, its signature is ${first.signature}`);
                const lines = Object.entries(first.headers).map(([name, value]) => `${name}: ${value}`);
                current.show(`POST ${found.path}\n${lines.join("\n")}\n\n${pretty(first.body)}`);
                return;
            }
            await sleep(200);
        }
        current.step("No callback", "has arrived");
    }

    async function synchronously(current, body) {
        const id = await post(current, body, `wait=${MAX_WAIT}`);
        if (id) await watch(current, id);
    }

    async function asynchronously(current, body) {
        const id = await post(current, body, "respond-async");
        if (id) await watch(current, id);
    }

    async function withCallback(current, body) {
        const request = JSON.parse(body);
        if (request === null || typeof request !== "object" || Array.isArray(request)) {
            throw new Error("only a request that is an object can name a callback_uri");
        }
        const inbox = await fetched("docs/inbox", { method: "POST" });
        request.callback_uri = inbox.callback_uri;
        const id = await post(current, JSON.stringify(request), "respond-async");
        if (!id) return;
        await watch(current, id);
        await awaitCallback(current, inbox.arrivals);
    }

    async function start(send) {
        const current = new Run();
        try {
            await send(current, find("body").value);
        } catch (error) {
            current.step("Failed", error.message);
        }
        current.end();
    }

    function showCommand() {
        const quoted = `'${find("body").value.replaceAll("'", "'\\''")}'`;
        find("curl").textContent = `curl ${base}predict -H 'Content-Type: application/json' -d ${quoted}`;
    }

    function fillExamples(spec) {
        const content = spec.paths["/predict"].post.requestBody.content["application/json"];
        const examples = Object.entries(content.examples || {});
        for (const [name, example] of examples) {
            const option = document.createElement("option");
            option.value = name;
            option.textContent = example.summary;
            find("example").append(option);
        }
        const choose = () => {
            const found = examples.find(([name]) => name === find("example").value);
            find("body").value = found ? JSON.stringify(found[1].value, null, 2) : "{}";
            showCommand();
        };
        find("choice").hidden = !examples.length;
        find("example").addEventListener("change", choose);
        find("body").addEventListener("input", showCommand);
        choose();
    }

    async function tellReadiness() {
        try {
            const found = await (await fetch(base + "ready")).json();
            find("readiness").textContent = found.ready ? "The service is ready." : `Not ready: ${found.reason}`;
            find("readiness").dataset.ready = found.ready;
            if (!found.ready) setTimeout(tellReadiness, 2000);
        } catch {
            find("readiness").textContent = "The service does not answer.";
            setTimeout(tellReadiness, 2000);
        }
    }

    function showReference(spec) {
        spec.servers = [{ url: base.replace(/\/$/, "") }];
        find("reference").replaceChildren();
        const ui = SwaggerUIBundle({
            spec,
            domNode: find("reference"),
            presets: [SwaggerUIBundle.presets.apis],
            layout: "BaseLayout",
            validatorUrl: null,
            deepLinking: false,
            docExpansion: "list",
            defaultModelsExpandDepth: 0,
            displayRequestDuration: true,
            tryItOutEnabled: true,
            onComplete: () => ui.layoutActions.show(["operations", "Predictions", "predict"], true),
        });
    }

    async function open() {
        followColours();
        find("form").addEventListener("submit", (event) => {
            event.preventDefault();
            start(synchronously);
        });
        find("async").addEventListener("click", () => start(asynchronously));
        find("callback").addEventListener("click", () => start(withCallback));
        find("callback").hidden = document.body.dataset.inbox !== "on";
        find("cancel").addEventListener("click", () => task && fetch(`${base}status/${task}`, { method: "DELETE" }));
        tellReadiness();
        const spec = await (await fetch(base + "openapi.json")).json();
        fillExamples(spec);
        showReference(spec);
        document.body.dataset.open = "yes";
    }

    open();
})();
