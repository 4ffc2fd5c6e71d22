"use strict";
// Links to another port of the same host: the service does not know under which name it is reached.
for (const link of document.querySelectorAll("a[data-port]")) {
    link.href = `${location.protocol}//${location.hostname}:${link.dataset.port}/`;
    link.hidden = false;
}
// A proxy may keep what is not for everybody to itself.
for (const link of document.querySelectorAll('nav a[href="metrics"]')) {
    fetch(link.href, { method: "HEAD" }).then(
        (answer) => { link.hidden = !answer.ok; },
        () => { link.hidden = true; },
    );
}
