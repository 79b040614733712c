// Makes the headers of a table with the class `sortable` buttons that sort its rows by the number or text in a column, or
// by the attribute `data-key` of its cells.
const keyOf = (cell) => {
  const text = (cell.dataset.key ?? cell.textContent).trim();
  const number = Number(text.replaceAll(",", "").replace("−", "-"));
  return text && !Number.isNaN(number) ? number : text;
};
const words = new Intl.Collator("en", { numeric: true });
const compare = (one, other) => {
  if (typeof one === typeof other) return typeof one === "number" ? one - other : words.compare(one, other);
  return typeof one === "number" ? -1 : 1;
};
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  const rows = [...table.tBodies[0].rows];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      const keys = new Map(rows.map((row) => [row, keyOf(row.cells[column])]));
      rows.sort((one, other) => compare(keys.get(one), keys.get(other)) * (down ? -1 : 1));
      table.tBodies[0].append(...rows);
      heads.forEach((each) => each.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
    });
  });
}
