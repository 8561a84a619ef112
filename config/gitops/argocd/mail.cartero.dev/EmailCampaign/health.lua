-- Health of an EmailCampaign: what kstatus says, and Suspended while a person holds it. A suspension that Git asks for is
-- Healthy: Argo CD's Suspended keeps `argocd app wait` and the next sync wave waiting.
local health = {status = "Progressing", message = "Waiting for the operator"}
local status = obj.status
if status == nil or status.observedGeneration ~= obj.metadata.generation then
  return health
end
local conditions = {}
for _, condition in ipairs(status.conditions or {}) do
  conditions[condition.type] = condition
end
local ready = conditions["Ready"]
if ready == nil then
  return health
end
health.message = ready.reason
if status.progress ~= nil then
  health.message = health.message .. " " .. status.progress
end
if ready.message ~= nil and ready.message ~= "" then
  health.message = health.message .. ": " .. ready.message
end
local function is(conditionType)
  return conditions[conditionType] ~= nil and conditions[conditionType].status == "True"
end
if is("Stalled") or is("Failed") then
  health.status = "Degraded"
elseif is("Suspended") and conditions["Suspended"].reason == "Held" then
  health.status = "Suspended"
elseif ready.status == "True" then
  health.status = "Healthy"
end
return health
