// Who is connected as a device, and what it was refused, told anew when it changes.
"use strict";
document.addEventListener("DOMContentLoaded", () => {
  const live = document.getElementById("live");
  news({
    root: live, note: document.getElementById("live-note"),
    address: more => `${live.dataset.news}?${more}was=${live.dataset.was}`,
    take: n => {
      live.dataset.was = n.was;
      replace(live, n.html);
    },
  });
});
