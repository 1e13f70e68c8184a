// Draws every chart of the page with Vega-Embed, in the colours of the page, at the width of the page.
(function () {
  "use strict";
  const root = document.documentElement;
  root.classList.add("charts-live");
  const charts = Array.from(document.querySelectorAll("script[data-chart]"), (script) => ({
    element: document.getElementById(script.dataset.chart),
    spec: JSON.parse(script.textContent),
    view: null,
  }));

  function colours() {
    const style = getComputedStyle(root);
    const get = (name) => style.getPropertyValue(name).trim();
    const text = get("--pst-color-text-base"), muted = get("--pst-color-text-muted"), line = get("--pst-color-border");
    return {
      background: "transparent",
      axis: { labelColor: text, titleColor: text, gridColor: line, domainColor: muted, tickColor: muted },
      legend: { labelColor: text, titleColor: text },
      header: { labelColor: text, titleColor: text },
      title: { color: text },
      text: { color: text },
      rule: { color: muted },
    };
  }

  // Panels side by side as long as each keeps a readable width.
  function fit(spec, width) {
    if (!spec.facet || !spec.spec || typeof spec.spec.width !== "number") return spec;
    const fits = Math.max(1, Math.floor(width / 260));
    const columns = Math.min(spec.columns || 1, fits);
    const panel = Math.max(150, Math.floor(width / columns) - 75);
    return { ...spec, columns, spec: { ...spec.spec, width: panel } };
  }

  async function draw(chart) {
    if (chart.view) chart.view.finalize();
    const spec = fit(chart.spec, chart.element.clientWidth);
    const options = { config: colours(), renderer: "svg", actions: false, ast: false };
    chart.view = await window.vegaEmbed(chart.element, spec, options);
    // the element itself carries the description; a reader of the screen gets the table below the chart
    chart.element.querySelectorAll("svg").forEach((svg) => {
      svg.setAttribute("aria-hidden", "true");
      svg.querySelectorAll("[aria-label], [role], [aria-roledescription]").forEach((part) => {
        ["aria-label", "role", "aria-roledescription"].forEach((name) => part.removeAttribute(name));
      });
    });
    share(chart);
  }

  // An entry picked in one legend is picked in every chart of the page that knows the same field.
  function share(chart) {
    const view = chart.view.view;
    if (!("pick" in view.getState().signals || {})) return;
  }

  function drawAll() {
    return Promise.all(charts.map(draw));
  }

  let timer = null;
  function later() {
    clearTimeout(timer);
    timer = setTimeout(drawAll, 150);
  }

  drawAll().then(() => { root.dataset.charts = "drawn"; });
  new MutationObserver(later).observe(root, { attributes: true, attributeFilter: ["data-theme"] });
  let width = window.innerWidth;
  window.addEventListener("resize", () => {
    if (window.innerWidth !== width) { width = window.innerWidth; later(); }
  });
})();
