// Text from the network is always inserted as text. Nothing in this page parses it as markup.
export function element(name, className, text = '') {
  const made = document.createElement(name)
  made.className = className
  made.textContent = text
  return made
}

// Writing the same text again would still cost a layout.
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text
}

export function setStyle(element, name, value) {
  if (element.style.getPropertyValue(name) !== value) element.style.setProperty(name, value)
}
