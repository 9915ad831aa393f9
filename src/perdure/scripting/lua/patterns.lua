-- string.find, match, gmatch and gsub for untrusted patterns.

local string, error, HERE = ...
return { find = string.find, match = string.match, gmatch = string.gmatch, gfind = string.gmatch, gsub = string.gsub }
