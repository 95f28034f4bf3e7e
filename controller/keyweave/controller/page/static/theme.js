// Dark, light, or as the system has it.

const KEY = "keyweave-theme";
const CHOICES = ["system", "light", "dark"];

export function chooseTheme(button) {
  let current = localStorage.getItem(KEY) ?? "system";
  const show = () => {
    document.documentElement.dataset.theme = current;
    button.textContent = `Theme: ${current}`;
  };
  button.addEventListener("click", () => {
    current = CHOICES[(CHOICES.indexOf(current) + 1) % CHOICES.length];
    localStorage.setItem(KEY, current);
    show();
  });
  if (!CHOICES.includes(current)) current = "system";
  show();
}
