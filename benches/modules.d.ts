// The clients under test that have no declarations, or that only `npm ci` in this folder installs.
declare module '@sap/xb-msg-mqtt-v311'
declare module 'paho-mqtt'
declare module 'u8-mqtt'
