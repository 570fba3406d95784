// What a kept page must not have in it is asked for each time the page is shown: also when one goes
// back to it and the browser has kept it whole.
"use strict";

const shown = document.querySelector("[data-product]");

async function asked(path) {
  const answer = await fetch(path);
  return answer.ok ? answer.json() : null;
}

async function showPrice(id) {
  const price = await asked(`/prices/${id}`);
  document.getElementById("price").textContent = price ? price.shown : "not for sale";
}

async function count(id) {
  await fetch(`/views/${id}`, { method: "POST" });
  const found = await asked(`/views/${id}`);
  if (found) {
    document.getElementById("views").textContent = `seen ${found.views} times`;
  }
}

async function suggest(id) {
  const links = (await asked(`/suggestions/${id}`) || []).map(({ path, name }) => {
    const item = document.createElement("li");
    const link = item.appendChild(document.createElement("a"));
    link.href = path;
    link.textContent = name;
    return item;
  });
  document.getElementById("suggestions").replaceChildren(...links);
}

if (shown) {
  const id = Number(shown.dataset.product);
  addEventListener("pageshow", () => {
    showPrice(id);
    suggest(id);
  });
  count(id);
}
