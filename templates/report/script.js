(function () {
  "use strict";
  // Tooltips: an element's <title> follows the pointer, and shows when it has the focus.
  var tip = document.getElementById("tip");
  document.querySelectorAll("svg title").forEach(function (title) {
    var owner = title.parentNode, text = title.textContent;
    title.remove();
    function show(x, y) {
      tip.textContent = text;
      tip.style.display = "block";
      var box = tip.getBoundingClientRect();
      tip.style.left = Math.max(4, Math.min(x + 14, innerWidth - box.width - 8)) + "px";
      tip.style.top = (y + box.height + 26 > innerHeight ? y - box.height - 12 : y + 18) + "px";
    }
    function hide() { tip.style.display = "none"; }
    owner.addEventListener("mousemove", function (e) { show(e.clientX, e.clientY); });
    owner.addEventListener("mouseleave", hide);
    owner.addEventListener("focus", function () {
      var box = owner.getBoundingClientRect();
      show(box.right, box.bottom);
    });
    owner.addEventListener("blur", hide);
  });

  var table = document.getElementById("operators");
  if (!table) { return; }
  var body = table.tBodies[0], rows = Array.from(body.rows);
  var heads = Array.from(table.tHead.rows[0].cells);

  function key(row, column) {
    var cell = row.cells[column], number = cell.getAttribute("data-v");
    return number === null ? cell.textContent.trim().toLowerCase()
      : number === "" ? null : Number(number);
  }
  // Numbers sort as numbers; cells without a figure stay at the end either way.
  function sort(column, descending) {
    var order = rows.map(function (row, index) { return [key(row, column), index, row]; });
    order.sort(function (a, b) {
      if (a[0] === null || b[0] === null) {
        return (a[0] === null) - (b[0] === null) || a[1] - b[1];
      }
      var c = typeof a[0] === "number" ? a[0] - b[0] : a[0].localeCompare(b[0]);
      return (descending ? -c : c) || a[1] - b[1];
    });
    order.forEach(function (item) { body.appendChild(item[2]); });
    heads.forEach(function (head, index) {
      if (index === column) {
        head.setAttribute("aria-sort", descending ? "descending" : "ascending");
      } else { head.removeAttribute("aria-sort"); }
    });
  }
  heads.forEach(function (head, column) {
    var button = head.querySelector("button");
    button.addEventListener("click", function () {
      var now = head.getAttribute("aria-sort");
      var numeric = rows.length && rows[0].cells[column].hasAttribute("data-v");
      if (now === (numeric ? "ascending" : "descending")) {  // third click: order of execution
        rows.forEach(function (row) { body.appendChild(row); });
        head.removeAttribute("aria-sort");
      } else { sort(column, now ? now === "ascending" : numeric); }
    });
  });

  var phase = document.getElementById("phase"), engine = document.getElementById("engine");
  var name = document.getElementById("name"), only = document.getElementById("only");
  function filter() {
    var shown = 0, cycles = {};
    rows.forEach(function (row) {
      var d = row.dataset;
      var right = (!phase.value || d.phase === phase.value) &&
        (!engine.value || d.engine === engine.value) &&
        (!only.value || d.only === only.value) &&
        d.name.indexOf(name.value.trim().toLowerCase()) >= 0;
      row.hidden = !right;
      if (right) {
        shown += 1;
        cycles[d.phase] = (cycles[d.phase] || 0) + Number(d.share);
      }
    });
    document.getElementById("shown").textContent = shown + " of " + rows.length +
      " operators" + Object.keys(cycles).map(function (p) {
        return "; " + (100 * cycles[p]).toFixed(1) + " % of the cycles of the " + p;
      }).join("");
  }
  [phase, engine, name, only].forEach(function (field) { field.addEventListener("input", filter); });
  filter();
})();
