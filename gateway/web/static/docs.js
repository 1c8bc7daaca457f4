// The caller's OpenAPI document -> Swagger UI on it. Every call goes to this origin, and to no other.
"use strict";

(() => {
  const DOCUMENT = "/openapi.json";
  const MOST_CHARACTERS = 1000000;
  const element = (id) => document.getElementById(id);
  const calls = element("calls");
  const versions = element("version");
  const hasSession = calls.dataset.session === "yes";
  let token = ""; // here and nowhere else, so that it is gone with the page
  let whole = null;

  // What is said

  const say = (text, link, address) => {
    const parts = text ? [text] : [];
    if (link) {
      const anchor = document.createElement("a");
      anchor.href = address;
      anchor.target = "_blank";
      anchor.rel = "noopener";
      anchor.textContent = link;
      parts.push(" ", anchor);
    }
    element("notice").replaceChildren(...parts);
  };

  const problemOf = (text) => {
    try {
      const problem = JSON.parse(text);
      return problem && typeof problem === "object" ? problem : {};
    } catch {
      return {};
    }
  };

  const signInAddress = (problem) => {
    const asked = new URLSearchParams({ to: location.pathname });
    for (const name of ["acr_values", "max_age"]) {
      if (problem[name] !== undefined) asked.set(name, String(problem[name]));
    }
    return `/login?${asked}`;
  };

  const explain = (status, text) => {
    const problem = problemOf(text);
    const told = typeof problem.detail === "string" ? problem.detail : `Status ${status}.`;
    if (status === 401 && hasSession) {
      say(`${told} Then try again here.`, "Sign in in a new tab", signInAddress(problem));
    } else {
      say(told);
    }
  };

  // What is sent, and what comes

  const bearer = () => (token ? { Authorization: `Bearer ${token}` } : {});

  const send = (request) => {
    if (new URL(request.url, location.href).origin !== location.origin) {
      throw new Error("Calls go to this gateway only.");
    }
    request.credentials = "same-origin";
    Object.assign(request.headers, bearer());
    return request;
  };

  const receive = (response) => {
    const text = typeof response.text === "string" ? response.text : "";
    if (response.status === 401) explain(response.status, text);
    else say("");
    if (text.length > MOST_CHARACTERS) {
      const cut = `${text.slice(0, MOST_CHARACTERS)}\n[${text.length - MOST_CHARACTERS} more characters are not shown]`;
      Object.assign(response, { text: cut, data: cut, body: cut, obj: cut });
      say(`The answer has ${text.length} characters; the beginning is shown.`);
    }
    return response;
  };

  // What is shown

  const versionOf = (path) => (/^\/[a-z]+\/(v[0-9.]+)\//.exec(path) ?? ["", ""])[1];
  const number = (version) => Number(version.split(".").pop());

  const offered = () => {
    const found = [...new Set(Object.keys(whole.paths).map(versionOf))].filter(Boolean);
    return found.sort((one, other) => number(other) - number(one));
  };

  const own = (path) => ["", versions.value].includes(versionOf(path));

  // The way in is this page's: a session, or the token above.
  const shown = () => {
    const { security, components: { securitySchemes, ...components }, ...rest } = whole;
    const paths = Object.fromEntries(Object.entries(rest.paths).filter(([path]) => own(path)));
    return { ...rest, components, paths, servers: [{ url: location.origin }] };
  };

  const nothing = () => () => null;
  const withoutOwnHead = () => ({ wrapComponents: { InfoContainer: nothing, ServersContainer: nothing } });

  // What Swagger UI leaves to be named, or to be reached by keyboard.
  const complete = () => {
    for (const area of calls.querySelectorAll("textarea:not([aria-label])")) {
      area.setAttribute("aria-label", "Body of the request");
    }
    for (const field of calls.querySelectorAll(":is(input, select):not([aria-label])")) {
      const row = field.closest("tr[data-param-name]");
      if (row) field.setAttribute("aria-label", row.dataset.paramName);
    }
    for (const text of calls.querySelectorAll("pre:not([tabindex])")) text.tabIndex = 0;
  };

  const draw = () => {
    const place = document.createElement("div");
    calls.replaceChildren(place);
    window.SwaggerUIBundle({
      domNode: place,
      spec: shown(),
      presets: [window.SwaggerUIBundle.presets.apis],
      plugins: [withoutOwnHead],
      layout: "BaseLayout",
      queryConfigEnabled: false,
      validatorUrl: null,
      persistAuthorization: false,
      withCredentials: false,
      showMutatedRequest: false, // or the token would be on the screen
      deepLinking: false,
      docExpansion: "list",
      defaultModelsExpandDepth: -1,
      displayRequestDuration: true,
      tryItOutEnabled: true,
      syntaxHighlight: { activated: false }, // seconds for a long list of jobs
      supportedSubmitMethods: ["get", "post", "delete"],
      requestInterceptor: send,
      responseInterceptor: receive,
      onComplete: () => calls.setAttribute("aria-busy", "false"),
    });
  };

  const offer = () => {
    const options = offered().map((version) => new Option(version, version));
    const before = versions.value;
    versions.replaceChildren(...options);
    if (options.some((option) => option.value === before)) versions.value = before;
    element("versions").hidden = options.length < 2;
  };

  const load = async () => {
    calls.setAttribute("aria-busy", "true");
    try {
      const headers = { Accept: "application/json", ...bearer() };
      const answer = await fetch(DOCUMENT, { cache: "no-store", credentials: "same-origin", headers });
      const text = await answer.text();
      if (!answer.ok) {
        explain(answer.status, text);
        return;
      }
      say("");
      whole = JSON.parse(text);
      offer();
      draw();
    } catch {
      say("The document did not arrive. Reload the page.");
    }
  };

  const use = (event) => {
    event.preventDefault();
    const field = element("token");
    token = field.value.trim();
    field.value = "";
    element("token-state").textContent = token
      ? "A token is in use, until you reload or leave the page. Use an empty one to forget it."
      : "No token is in use.";
    load();
  };

  // Swagger UI has dark colours for a class on the root.
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const follow = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
  dark.addEventListener("change", follow);
  follow();

  // A page that comes back from the browser's memory may be somebody else's by now.
  window.addEventListener("pageshow", (event) => {
    if (event.persisted) location.reload();
  });
  new MutationObserver(complete).observe(calls, { childList: true, subtree: true });
  versions.addEventListener("change", draw);
  element("token-form")?.addEventListener("submit", use);
  load();
})();
