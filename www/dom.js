// Text from the network only ever becomes text: nothing in this page parses it as markup.
export function element(name, className, text = '') {
  const made = document.createElement(name)
  made.className = className
  made.textContent = text
  return made
}

// Writing what stands there already would cost a layout all the same.
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text
}

export function setStyle(element, name, value) {
  if (element.style.getPropertyValue(name) !== value) element.style.setProperty(name, value)
}
