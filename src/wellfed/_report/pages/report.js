"use strict";
(() => {
  const figures = JSON.parse(document.getElementById("figures").textContent);
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const narrow = window.matchMedia("(max-width: 720px)");
  const colors = (paper) => dark.matches && !paper
    ? { ink: "#e7eaee", line: "#3a424d", box: "#1d2229" }
    : { ink: "#1c2128", line: "#d5d9df", box: "#ffffff" };
  const themed = ({ data, layout }, paper) => {
    const { ink, line, box } = colors(paper);
    const out = { ...layout, font: { ...layout.font, color: ink },
                  hoverlabel: { ...layout.hoverlabel, bgcolor: box, bordercolor: line, font: { color: ink } } };
    if (narrow.matches) {
      out.margin = { ...layout.margin, l: 48, r: 8 };
      out.font.size = 11;
      const named = new Set(data.filter((one) => one.showlegend !== false).map((one) => one.name));
      if (layout.showlegend !== false && named.size > 2) out.height = layout.height + 17 * named.size;
    }
    for (const key of Object.keys(out)) {
      if (/^[xy]axis/.test(key)) {
        out[key] = { ...out[key], gridcolor: line, linecolor: line, zerolinecolor: line };
      }
    }
    return out;
  };
  const config = { displayModeBar: false, responsive: true };
  const draw = (paper) => {
    for (const [name, figure] of Object.entries(figures)) {
      const place = document.getElementById("chart-" + name);
      if (place) Plotly.react(place, figure.data, themed(figure, paper), config);
    }
  };
  // A link to a closed part opens it; paper has no clicks, so there all of them are open.
  const parts = () => [...document.querySelectorAll("details")];
  const open = () => {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (target && target.tagName === "DETAILS") target.open = true;
  };
  let closed = [];
  addEventListener("hashchange", open);
  addEventListener("beforeprint", () => {
    closed = parts().filter((one) => !one.open);
    for (const one of closed) one.open = true;
    draw(true);
  });
  addEventListener("afterprint", () => {
    for (const one of closed) one.open = false;
    draw(false);
  });
  open();
  draw(false);
  for (const query of [dark, narrow]) query.addEventListener("change", () => draw(false));
})();
